"""Shopify's own rules without I/O: signatures, shop domains, webhook headers."""
