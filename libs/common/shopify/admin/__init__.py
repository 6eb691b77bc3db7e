"""The Admin API client: one budget for each shop over all processes, and an outcome for everything Shopify may say."""
