"""The sandbox store: plays Shopify, so that nobody needs an account to see shopbus work.

Consumes nothing. Produces signed webhooks of Shopify's shape, sent as Shopify sends them: its headers,
deadlines and retries. Owns no data; everything it makes up follows from a seed.
"""
