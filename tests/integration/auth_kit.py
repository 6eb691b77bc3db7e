"""A running auth with a stand-in for Shopify, and what browsers and services say to it."""

import secrets
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import jwt
import orjson
from aiohttp import ClientResponse, ClientSession
from pydantic import SecretStr

from libs.common.outbox.faults import FaultPoints
from libs.common.service_token import ServiceKey
from libs.common.shopify.launch import query_signature
from services.auth.app import open_service
from services.auth.config import Settings
from tests.integration.shopify_stand_in import KEY, SECRET, StandIn, standing_in
from tests.serving import serving

SHOP, OTHER_SHOP = "first.myshopify.com", "second.myshopify.com"
APP_URL = "http://127.0.0.1:8081"
OPS = "ops-token"
SERVICE_KEY = "a key that all services of this test share"
TOKEN_KEY = b64encode(bytes(range(32))).decode()

EMITTED = "SELECT type, body FROM auth.messages WHERE type NOT LIKE 'webhook.%' ORDER BY id"


def auth_settings(database: str, shopify_url: str, **changes: object) -> Settings:
    """Settings that need nothing but a database and a stand-in."""
    made: dict[str, object] = {
        "database_url": database, "shopify_api_key": KEY, "shopify_api_secret": SECRET, "app_url": APP_URL,
        "shopify_scopes": "read_orders,read_products", "token_keys": TOKEN_KEY, "service_key": SERVICE_KEY,
        "ops_token": OPS, "sandbox_store_url": shopify_url, "shutdown_seconds": 2.0,
    }  # fmt: skip
    return Settings.load(**{**made, **changes})


def session_token(shop: str = SHOP, *, user: int = 7, secret: str = SECRET, **changes: object) -> str:
    """What App Bridge gives a page."""
    now = time.time()
    claims = {
        "iss": f"https://{shop}/admin", "dest": f"https://{shop}", "aud": KEY, "sub": str(user), "exp": now + 60,
        "nbf": now, "iat": now, "jti": secrets.token_hex(8), "sid": secrets.token_hex(8), **changes,
    }  # fmt: skip
    return jwt.encode(claims, secret, algorithm="HS256")


def service_proof() -> dict[str, str]:
    """What another service shows auth."""
    key = ServiceKey(SecretStr(SERVICE_KEY))
    return {"Authorization": f"Bearer {key.mint(caller='worker', audience='auth', now=datetime.now(UTC))}"}


@dataclass
class Running:
    """Auth as its callers see it."""

    client: ClientSession
    shopify: StandIn
    pool: asyncpg.Pool
    settings: Settings

    async def begin(self, shop: str = SHOP, **query: str) -> tuple[ClientResponse, str]:
        """Opens the install address; returns the answer and the state in it."""
        answer = await self.client.get("/auth/install", params={"shop": shop, **query}, allow_redirects=False)
        return answer, parse_qs(urlsplit(answer.headers.get("Location", "")).query).get("state", [""])[0]

    def back(self, state: str, shop: str = SHOP, *, secret: str = SECRET, **changes: str) -> str:
        """Where Shopify sends the merchant after consent."""
        code = changes.pop("code", None) or self.shopify.code(shop)
        stamp = str(int(time.time()))
        query = {"code": code, "shop": shop, "state": state, "timestamp": stamp, **changes}
        return f"/auth/callback?{urlencode({**query, 'hmac': query_signature(secret, query.items())})}"

    async def get(self, address: str, **more: Any) -> tuple[int, Any]:
        async with self.client.get(address, allow_redirects=False, **more) as answer:
            return answer.status, await _content(answer)

    async def install(self, shop: str = SHOP) -> None:
        """The whole code grant, as a merchant does it."""
        _, state = await self.begin(shop)
        status, content = await self.get(self.back(state, shop))
        assert status == 302, content

    async def exchange(
        self, shop: str = SHOP, *, online: bool = False, token: str | None = None
    ) -> tuple[int, Any]:
        """What a page does when it loads."""
        self.shopify.installed.add(shop)
        headers = {"Authorization": f"Bearer {token or session_token(shop)}"}
        body = orjson.dumps({"online": True}) if online else None
        async with self.client.post("/auth/token", headers=headers, data=body) as answer:
            return answer.status, await _content(answer)

    async def token(self, shop: str = SHOP, **query: str) -> tuple[int, Any]:
        """What the worker asks for."""
        return await self.get(f"/internal/auth/shops/{shop}/token", params=query, headers=service_proof())

    async def ops(self, address: str) -> tuple[int, Any]:
        return await self.get(address, headers={"Authorization": f"Bearer {OPS}"})

    async def emitted(self) -> list[tuple[str, Any]]:
        """What auth told the other services, in order."""
        return [(row["type"], orjson.loads(row["body"])) for row in await self.pool.fetch(EMITTED)]

    async def types(self) -> list[str]:
        return [name for name, _ in await self.emitted()]


async def _content(answer: ClientResponse) -> Any:
    if "json" in answer.content_type:
        return orjson.loads(await answer.read())
    return await answer.text()


@asynccontextmanager
async def running(
    database: str, *, faults: FaultPoints | None = None, shopify: StandIn | None = None, **changes: object
) -> AsyncIterator[Running]:
    """Auth, serving, until the block ends."""
    async with AsyncExitStack() as stack:
        if shopify is None:
            shopify = await stack.enter_async_context(standing_in())
        settings = auth_settings(database, shopify.url, **changes)
        service = await stack.enter_async_context(open_service(settings, faults=faults))
        client = await stack.enter_async_context(serving([service], settings))
        pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=4))
        yield Running(client, shopify, pool, settings)
