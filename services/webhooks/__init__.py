"""Takes in Shopify's webhooks: verified, committed with the work they cause, then answered. Keeps them subscribed to.

Consumes `shop.installed`, `shop.uninstalled`, `shop.scopes_changed` and `privacy.*.webhooks`. Produces `webhook.*`, one
type per topic. Owns the schema `webhooks`: the deliveries log, the log of rejected requests, and each shop's webhook
subscriptions.
"""
