"""The sandbox store: plays Shopify, so that nobody needs an account to see shopbus work.

Consumes nothing. Produces signed webhooks of Shopify's shape, sent as Shopify sends them: its headers,
deadlines and retries; Shopify's side of installs: consent, tokens, an admin with the app in a frame; a front where
shoppers meet the app's pixel; and the Admin API of its stores, whose products, customers and orders change when
somebody makes something happen. Owns what its stores remember of the app, and a row for each thing they have, in two
files of the state folder; the rest follows from a seed.
"""
