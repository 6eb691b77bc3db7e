"""A client of the Admin API, with the stand-in behind it and a real Postgres for its budgets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from libs.common.clock import SystemClock
from libs.common.db import direct_connections, open_pool
from libs.common.shopify.admin.client import AdminClient
from libs.common.shopify.admin.config import AdminSettings
from libs.common.shopify.admin.open import open_admin

SHOP, OTHER_SHOP = "one.myshopify.com", "two.myshopify.com"
QUERY = "query ShopName { shop { name } }"
MUTATION = "mutation Rename { shopRename { shop { name } userErrors { field message } } }"
KEYED = "mutation Pay($idempotencyKey: String!) { pay @idempotent(key: $idempotencyKey) { done } }"


class Reachable(Protocol):
    """Where the Admin API is, and auth: the stand-in, or the sandbox store and a real auth."""

    @property
    def url(self) -> str: ...

    @property
    def auth_url(self) -> str: ...


def admin_settings(database: str, shopify: Reachable, **changes: object) -> AdminSettings:
    return AdminSettings.load(**{
        "database_url": database, "service_key": "k" * 64, "auth_url": shopify.auth_url,
        "sandbox_store_url": shopify.url, **changes,
    })  # fmt: skip


@asynccontextmanager
async def admin_client(database: str, shopify: Reachable, **changes: object) -> AsyncIterator[AdminClient]:
    """A client as a service opens it."""
    settings = admin_settings(database, shopify, **changes)
    async with (
        open_pool(settings) as pool,
        open_admin(settings, pool, direct_connections(settings), SystemClock(), caller="worker") as client,
    ):
        yield client
