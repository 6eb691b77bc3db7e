"""The sandbox store: plays Shopify, so that nobody needs an account to see shopbus work.

Consumes nothing. Produces signed webhooks of Shopify's shape, sent as Shopify sends them: its headers,
deadlines and retries; and Shopify's side of installs: consent, tokens, an admin with the app in a frame. Owns what its
stores remember of the app, in one file of the state folder; everything else it makes up follows from a seed.
"""
