"""Shopify's Admin GraphQL API as the sandbox plays it: schema, answers, cost and throttling."""
