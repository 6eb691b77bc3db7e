"""Takes in Shopify's webhooks: verified, committed with the work they cause, then answered.

Consumes nothing yet. Produces `webhook.*`, one type per topic. Owns the schema `webhooks`: the deliveries log and the
log of rejected requests.
"""
