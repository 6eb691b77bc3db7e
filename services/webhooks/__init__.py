"""Takes in Shopify's webhooks: verified, committed with the work they cause, then answered; and sees that all come.

Consumes `shop.installed`, `shop.uninstalled`, `shop.scopes_changed` and `privacy.*.webhooks`. Produces `webhook.*`, one
type per topic. Owns the schema `webhooks`: the deliveries log, the log of rejected requests, each shop's webhook
subscriptions, what has arrived of each resource, and the ledger of what had not.
"""
