"""Topics in both spellings: `orders/create` on a webhook, `ORDERS_CREATE` in the Admin API; and what they need."""

from collections.abc import Mapping

APP_SPECIFIC = (
    "app/uninstalled",
    "app/scopes_update",
    "customers/data_request",
    "customers/redact",
    "shop/redact",
)
"""What the app's own configuration subscribes to: for every shop, for good, and never deleted."""

_RESOURCES = (
    *("app_subscriptions", "app", "bulk_operations", "carts", "checkouts", "collections", "customers"),
    *("draft_orders", "fulfillments", "inventory_items", "inventory_levels", "order_transactions", "orders"),
    *("products", "refunds", "shop", "themes"),
)
_DOTTED: Mapping[str, str] = {
    "CUSTOMER_TAGS_ADDED": "customer.tags_added",
    "CUSTOMER_TAGS_REMOVED": "customer.tags_removed",
}
_SCOPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("orders", "order_transactions", "refunds", "carts", "checkouts", "fulfillments"), "read_orders"
    ),
    "draft_orders": "read_draft_orders",
    **dict.fromkeys(("customers", "customer"), "read_customers"),
    **dict.fromkeys(("products", "collections"), "read_products"),
    **dict.fromkeys(("inventory_items", "inventory_levels"), "read_inventory"),
}


def enum_of(topic: str) -> str:
    return topic.replace("/", "_").replace(".", "_").upper()


def topic_of(name: str) -> str:
    """The topic that a name of the Admin API stands for."""
    if name in _DOTTED:
        return _DOTTED[name]
    lower = name.lower()
    resource = next(one for one in _RESOURCES if lower.startswith(f"{one}_"))
    return f"{resource}/{lower[len(resource) + 1 :]}"


def scope_of(topic: str) -> str | None:
    """The scope without which an app is not told."""
    return _SCOPES.get(topic.replace(".", "/").partition("/")[0])
