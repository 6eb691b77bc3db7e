"""A running ingest, and what the pixel in a shopper's browser sends it."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
from aiohttp import ClientResponse, ClientSession

from libs.common.contracts import pixel_frame
from libs.common.db import Connection
from libs.common.outbox.faults import FaultPoints
from services.ingest.app import open_service
from services.ingest.config import Settings
from services.ingest.keys import new_key
from tests.serving import serving

SHOP, OTHER_SHOP = "first.myshopify.com", "second.myshopify.com"
ADDRESS = "/ingest/v1/events"

ADD_SHOP = "INSERT INTO ingest.extensions (shop, wanted, active) VALUES ($1, true, $2) ON CONFLICT DO NOTHING"
ADD_KEY = "INSERT INTO ingest.extension_keys (key, shop, ends_at) VALUES ($1, $2, $3)"
BODIES = "SELECT shop, body FROM ingest.messages WHERE type = 'pixel.frame' ORDER BY id"


def event(name: str = "page_viewed", **changes: Any) -> dict[str, Any]:
    """An event as the pixel sends it."""
    location = {"href": f"https://{SHOP}/products/mug", "host": SHOP, "search": "", "hash": ""}
    return {
        "id": f"sh-{secrets.token_hex(16)}",
        "clientId": "visitor-1",
        "name": name,
        "timestamp": datetime.now(UTC).isoformat(),
        "type": "standard",
        "seq": 1,
        "context": {
            "document": {"location": location, "referrer": "", "title": "Mug", "characterSet": "UTF-8"},
            "navigator": {"userAgent": "Mozilla/5.0 Firefox/140.0", "language": "en"},
        },
        "data": {},
        **changes,
    }


async def add_key(
    database: Connection, shop: str = SHOP, *, active: bool = True, ends_at: datetime | None = None
) -> str:
    """A public key of a shop, as if the merchant had switched the pixel on."""
    key = new_key()
    await database.execute(ADD_SHOP, shop, active)
    await database.execute(ADD_KEY, key, shop, ends_at)
    return key


@dataclass
class Ingesting:
    """Ingest as its callers see it, and its database."""

    client: ClientSession
    settings: Settings
    database: asyncpg.Connection
    key: str

    async def send(
        self, body: Any, *, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """Sends a body as a browser does, with the shop's key in the address."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"Content-Type": "text/plain;charset=UTF-8", **(headers or {})}
        params = {"key": self.key if key is None else key}
        async with self.client.post(ADDRESS, params=params, data=data, headers=given) as response:
            await response.read()
            return response

    async def sent(self) -> list[dict[str, Any]]:
        """The events that were committed, as they travel."""
        return [
            row for body in await self.database.fetch(BODIES) for row in rows_of(body["shop"], body["body"])
        ]

    async def causes(self) -> list[str]:
        """Why events are in quarantine, the oldest first."""
        return [
            row["cause"]
            for row in await self.database.fetch("SELECT cause FROM ingest.quarantine ORDER BY id")
        ]


def rows_of(shop: str, body: bytes) -> list[dict[str, Any]]:
    """A frame's events, each with its columns and its content."""
    frame = pixel_frame.decode(body)
    columns = zip(*frame.columns, strict=True)
    return [
        {"shop": shop, **dict(zip(pixel_frame.COLUMNS, row, strict=True)), **orjson.loads(content)}
        for row, content in zip(columns, frame.contents, strict=True)
    ]


@asynccontextmanager
async def ingesting(settings: Settings, faults: FaultPoints | None = None) -> AsyncIterator[Ingesting]:
    """The service as a process runs it, with one shop that has the pixel."""
    assert settings.database_url is not None
    database = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        async with open_service(settings, faults=faults) as service, serving([service], settings) as client:
            yield Ingesting(client, settings, database, await add_key(database))
    finally:
        database.terminate()
