"""Auth in several processes, and a merchant and a Shopify who make it hard for them."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import orjson
from aiohttp import ClientSession, CookieJar
from pydantic import SecretStr

from libs.common.service_token import ServiceKey
from tests.e2e.stores import SERVICE_KEY, Stores
from tests.servers.ports import free_port
from tests.session_tokens import session_token
from tests.waiting import poll

ROOT = Path(__file__).parents[2]
AGE = "UPDATE auth.sessions SET expires_at = now() + interval '1 minute' WHERE user_id IS NULL"


@dataclass
class Storm:
    """One shop, and every process that answers for it; the first is the one that webhooks reach."""

    stores: Stores
    shop: str
    clients: list[ClientSession]
    draw: Random
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def any(self) -> ClientSession:
        return self.draw.choice(self.clients)

    async def token(self, client: ClientSession, **query: str) -> tuple[int, Any]:
        """What a worker asks for."""
        key = ServiceKey(SecretStr(SERVICE_KEY))
        proof = key.mint(caller="worker", audience="auth", now=datetime.now(UTC))
        address = f"/internal/auth/shops/{self.shop}/token"
        async with client.get(address, params=query, headers={"Authorization": f"Bearer {proof}"}) as answer:
            self.answers["token", answer.status] += 1
            return answer.status, orjson.loads(await answer.read())

    async def open_page(self, client: ClientSession, *, online: bool = False) -> int:
        """What a page does when it loads."""
        proof = session_token(shop=self.shop, now=datetime.now(UTC))
        body = orjson.dumps({"online": online})
        async with client.post(
            "/auth/token", data=body, headers={"Authorization": f"Bearer {proof}"}
        ) as answer:
            self.answers["page", answer.status] += 1
            return answer.status

    async def renew(self, client: ClientSession) -> None:
        """A worker whose token was refused by Shopify, as it says."""
        status, said = await self.token(client)
        if status == 200:
            await self.token(client, refused=str(said["version"]))

    async def age(self, _: ClientSession) -> None:
        await self.stores.pool.execute(AGE)

    async def install(self) -> bool:
        """The merchant installs the app, once; the callback may fail on a bad day."""
        async with self.clients[0].get("/auth/install", params={"shop": self.shop}) as page:
            assert page.status == 200, await page.text()
            consent = page.url
        async with self.clients[0].post(consent, allow_redirects=False) as consented:
            callback = consented.headers["Location"]
        async with self.clients[0].get(callback, allow_redirects=False) as answer:
            self.answers["callback", answer.status] += 1
            return answer.status == 302

    async def installed(self) -> None:
        while not await self.install():
            pass

    async def uninstall(self) -> None:
        async with self.clients[0].post(f"{self.stores.framed(self.shop)}/uninstall") as answer:
            assert answer.status == 200

    async def works(self, access_token: str) -> bool:
        """Whether Shopify takes the token."""
        address = f"{self.stores.admin(self.shop)}/oauth/access_scopes.json"
        async with self.clients[0].get(address, headers={"X-Shopify-Access-Token": access_token}) as answer:
            return answer.status == 200


@asynccontextmanager
async def storm(
    stores: Stores, shop: str, folder: Path, *, processes: int, draw: Random
) -> AsyncIterator[Storm]:
    """The stores' own auth and more processes beside it."""
    async with AsyncExitStack() as stack:
        beside = [_process(stores, folder) for _ in range(processes - 1)]
        urls = [stores.url, *[await stack.enter_async_context(process) for process in beside]]
        clients = [
            await stack.enter_async_context(ClientSession(url, cookie_jar=CookieJar(unsafe=True)))
            for url in urls
        ]
        for client in clients:
            await poll(partial(_ready, client), within=60)
        yield Storm(stores, shop, clients, draw)


@asynccontextmanager
async def _process(stores: Stores, folder: Path) -> AsyncIterator[str]:
    port = free_port()
    settings = {name.upper(): str(value) for name, value in stores.settings.items()} | {"PORT": str(port)}
    with (folder / f"auth-{port}.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.auth", cwd=folder, stdout=out, stderr=out,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def _ready(client: ClientSession) -> bool:
    try:
        async with client.get("/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False
