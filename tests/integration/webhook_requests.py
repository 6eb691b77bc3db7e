"""Deliveries as Shopify sends them, for the tests of services/webhooks."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
from aiohttp import ClientResponse, ClientSession

from libs.common.shopify.signatures import webhook_signature
from services.webhooks.app import open_service
from services.webhooks.config import Settings
from tests.serving import serving

SHOP = "shop.myshopify.com"
ADDRESS = "/webhooks/shopify"


@dataclass(frozen=True)
class Door:
    """A running webhooks service, its database and its secrets."""

    client: ClientSession
    settings: Settings
    database: asyncpg.Connection

    def headers(self, body: bytes, /, **changes: str | None) -> dict[str, str]:
        """A delivery's headers; `webhook_id="a"` changes X-Shopify-Webhook-Id, None leaves one out."""
        headers: dict[str, str | None] = {
            "X-Shopify-Topic": "orders/create",
            "X-Shopify-Hmac-Sha256": webhook_signature(
                self.settings.shopify_api_secret.get_secret_value(), body
            ),
            "X-Shopify-Shop-Domain": SHOP,
            "X-Shopify-Api-Version": "2026-10",
            "X-Shopify-Webhook-Id": str(uuid4()),
            "X-Shopify-Event-Id": str(uuid4()),
            "X-Shopify-Triggered-At": "2026-11-21T03:00:00.123456789Z",
            "Content-Type": "application/json",
            "User-Agent": "Shopify-Captain-Hook",
        }
        headers |= {f"X-Shopify-{name.replace('_', '-').title()}": value for name, value in changes.items()}
        return {name: value for name, value in headers.items() if value is not None}

    async def deliver(self, body: bytes = b"{}", /, **changes: str | None) -> ClientResponse:
        """Sends one delivery."""
        return await self.send(body, self.headers(body, **changes))

    async def send(self, body: Any, headers: Mapping[str, str]) -> ClientResponse:
        """Sends a body with exactly these headers, and reads the answer whole."""
        async with self.client.post(ADDRESS, data=body, headers=headers) as response:
            await response.read()
            return response

    async def ops(self, path: str, **query: str) -> ClientResponse:
        """Asks as whoever runs the app does."""
        token = {"Authorization": f"Bearer {self.settings.ops_token.get_secret_value()}"}
        async with self.client.get(path, headers=token, params=query) as response:
            await response.read()
            return response

    async def count(self, table: str) -> int:
        """Rows in one of the service's tables."""
        number: int = await self.database.fetchval(f"SELECT count(*) FROM webhooks.{table}")  # noqa: S608
        return number


@asynccontextmanager
async def open_door(settings: Settings) -> AsyncIterator[Door]:
    """The service as a process runs it, on the database of the settings."""
    assert settings.database_url is not None
    database = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        async with open_service(settings) as service, serving([service], settings) as client:
            yield Door(client, settings, database)
    finally:
        database.terminate()
