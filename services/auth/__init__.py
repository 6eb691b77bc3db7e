"""Installs the app on stores, keeps their tokens, and knows who is calling.

Consumes `webhook.app.uninstalled` and `webhook.app.scopes_update`. Produces `shop.installed`, `shop.uninstalled`,
`install.ended`, `shop.scopes_changed` and `token.rotated`. Owns the schema `auth`: shops, sessions with their sealed
tokens, OAuth states. It alone has the token keys.
"""
