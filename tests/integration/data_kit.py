"""The worker's data endpoints with a real auth and a sandbox store behind them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import ClientResponse, ClientSession

from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from services.sandbox.setup import Setup
from services.worker.app import open_service
from services.worker.config import Settings
from tests.environment import MakeSettings
from tests.integration.auth_kit import OPS, SERVICE_KEY, running
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, SECRET
from tests.waiting import poll

READER = "read_orders,read_products,read_customers"
LISTENING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'shopbus data' AND query LIKE 'LISTEN%' AND state = 'idle'
"""
KEYS: dict[str, Any] = {"shopify_api_key": CLIENT_ID, "shopify_api_secret": SECRET}


@dataclass
class App:
    """What a page of the app can reach."""

    stores: Sandbox
    workers: list[ClientSession]
    webhooks: Producer

    async def ask(self, path: str, worker: int = 0, **more: Any) -> tuple[ClientResponse, Any]:
        """The answer and what is in it, asked with a session token of the admin."""
        headers = {"Authorization": f"Bearer {await self.stores.session_token()}", **more.pop("headers", {})}
        async with self.workers[worker].get(f"/api/{path}", headers=headers, **more) as answer:
            return answer, (await answer.json(content_type=None) if answer.status != 304 else None)

    async def source(self, path: str, worker: int = 0) -> str:
        """Where an answer came from."""
        return (await self.ask(path, worker))[0].headers["X-Shopbus-Cache"]


@asynccontextmanager
async def data_app(
    database: str,
    folder: Path,
    settings: MakeSettings,
    *,
    scopes: str | None = READER,
    setup: Setup | None = None,
    workers: int = 1,
    **changes: object,
) -> AsyncIterator[App]:
    """A store that has the app with these scopes, auth, and so many workers; None: auth does not know the store."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(sandbox(folder, setup=setup))
        address = stores.settings.store_url
        auth = await stack.enter_async_context(running(database, sandbox_store_url=address, **KEYS))
        if scopes is not None:
            await stores.installed(scopes)
            assert (await auth.exchange(token=await stores.session_token()))[0] == 200
        mine = settings(
            Settings, database_url=database, service_key=SERVICE_KEY, sandbox_store_url=address,
            auth_url=str(auth.client._base_url), ops_token=OPS,
            **{**KEYS, **changes},
        )  # fmt: skip
        clients = []
        for _ in range(workers):
            service = await stack.enter_async_context(open_service(mine))
            clients.append(await stack.enter_async_context(serving([service], mine)))
        pool = await stack.enter_async_context(open_pool(mine))
        webhooks = await stack.enter_async_context(open_producer(mine, schema="webhooks", pool=pool))
        await poll(lambda: _all_listen(pool, workers))  # who begins to listen forgets what was kept
        yield App(stores, clients, webhooks)


async def _all_listen(pool: asyncpg.Pool, workers: int) -> bool:
    return bool(await pool.fetchval(LISTENING) == workers)
