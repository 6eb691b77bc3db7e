"""Payloads of Shopify's shape and spelling, for any topic, from a seed."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import orjson

from libs.common.errors import ShopbusError
from services.sandbox import carts, customers, orders, products, shops
from services.sandbox.scene import Json, Scene


class UnknownTopic(ShopbusError):
    """A topic looks like orders/create or customer.tags_added."""


BUILDERS: Mapping[str, Callable[[Scene], Json]] = {
    "orders/create": orders.created,
    "orders/updated": orders.updated,
    "orders/paid": orders.paid,
    "orders/cancelled": orders.cancelled,
    "orders/delete": shops.deleted,
    "refunds/create": orders.refund,
    "products/create": products.product,
    "products/update": products.product,
    "products/delete": shops.deleted,
    "inventory_levels/update": products.inventory_level,
    "customers/create": customers.customer,
    "customers/update": customers.customer,
    "customers/delete": shops.deleted,
    "customers/data_request": customers.data_request,
    "customers/redact": customers.redaction,
    "shop/redact": customers.shop_redaction,
    "shop/update": shops.shop,
    "app/uninstalled": shops.shop,
    "app/scopes_update": shops.scopes,
    "carts/create": carts.cart,
    "carts/update": carts.cart,
    "checkouts/create": carts.checkout,
    "checkouts/update": carts.checkout,
}
"""Topics whose payload the sandbox knows by heart; any other gets what most resources have in common."""

_TOPIC = re.compile(r"[a-z][a-z0-9_]*[/.][a-z][a-z0-9_]*")
_SINGULARS = {"inventory_levels": "InventoryLevel", "bulk_operations": "BulkOperation"}
_ACTIONS = {"create": "create", "delete": "delete", "redact": "delete", "uninstalled": "delete"}

# Shopify writes JSON the way Ruby on Rails does: slashes escaped, and what could end a script tag as \uXXXX.
# None of these can stand outside a string in JSON, so replacing bytes is safe.
_SPELLING = (
    (b"/", rb"\/"),
    (b"&", rb"\u0026"),
    (b"<", rb"\u003c"),
    (b">", rb"\u003e"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)


def check_topic(topic: str) -> str:
    """The topic, if it can be one; raises `UnknownTopic` otherwise."""
    if not _TOPIC.fullmatch(topic):
        raise UnknownTopic(f"{topic!r} is not a topic: one looks like orders/create or customer.tags_added")
    return topic


def payload(topic: str, shop: str, *, seed: int, number: int, now: datetime) -> Json:
    """What Shopify would say about resource `number` of a shop under a topic."""
    kind = re.split("[/.]", topic)[0]
    scene = Scene.of(shop, kind, seed=seed, number=number, now=now)
    build = BUILDERS.get(topic)
    return build(scene) if build else shops.anything(scene, resource_of(topic))


def event(topic: str, data: Json) -> Json:
    """The same change as a next-generation event (developer preview) around the resource."""
    return {
        "topic": resource_of(topic),
        "action": action_of(topic),
        "handle": handle_for(topic),
        "fields_changed": {"added": [], "updated": ["updatedAt"], "removed": []},
        "query_variables": {"id": data.get("admin_graphql_api_id")},
        "data": data,
    }


def encode(data: Json) -> bytes:
    """JSON bytes in Shopify's spelling."""
    body = orjson.dumps(data)
    for plain, escaped in _SPELLING:
        body = body.replace(plain, escaped)
    return body


def resource_of(topic: str) -> str:
    """The resource's name in next-generation events: `products/update` is about a `Product`."""
    kind = re.split("[/.]", topic)[0]
    if kind in _SINGULARS:
        return _SINGULARS[kind]
    return "".join(word.capitalize() for word in kind.removesuffix("s").split("_"))


def action_of(topic: str) -> str:
    """The change as next-generation events name it: create, update or delete."""
    return _ACTIONS.get(re.split("[/.]", topic)[1], "update")


def handle_for(topic: str) -> str:
    """The name of the subscription that the sandbox pretends to have."""
    return f"sandbox-{re.sub('[/._]', '-', topic)}"
