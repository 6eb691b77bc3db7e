"""A sandbox store that loses webhooks, with the real auth and webhooks services, a worker, and a real Postgres."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
from aiohttp import ClientSession

from libs.common.db import connection
from libs.common.outbox import erase_store
from libs.common.outbox.faults import FaultPoints
from libs.common.privacy.keys import PrivacyKeys
from services.sandbox.admin_api.buckets import Plan, Rate
from services.sandbox.news import Losses
from services.sandbox.sender import Patience
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.webhooks import app as webhooks_app
from services.webhooks.config import Settings
from services.worker import app as worker_app
from services.worker.config import Settings as WorkerSettings
from tests.environment import MakeSettings
from tests.integration.auth_kit import OPS, SERVICE_KEY, running
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.servers.ports import free_port
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, SECRET, SHOP
from tests.waiting import poll

GRACE = 0.5
LONG = 60.0
SCOPES = "read_orders,read_products,read_customers"
SUBSCRIBED = "SELECT count(*) FROM webhooks.subscription_states WHERE shop = $1 AND state = 'ok'"
IDLE = """
SELECT NOT EXISTS (SELECT FROM webhooks.outbox) AND NOT EXISTS (SELECT FROM worker.scheduled)
"""
ORDERS = """
query Orders($after: String) { orders(first: 250, after: $after, sortKey: ID) {
    nodes { legacyResourceId name updatedAt displayFinancialStatus cancelledAt totalPriceSet { shopMoney { amount } } }
    pageInfo { hasNextPage endCursor } } }
"""
Json = dict[str, Any]


class SwiftSettings(Settings):
    """Nothing here is committed long after it got its id, and tests wait for what has settled."""

    @property
    def settle_seconds(self) -> float:
        return self.reconcile_grace_seconds


def quiet(losses: Losses | None = None, rate: Rate = Plan.ENTERPRISE.value) -> Setup:
    """A small store, of which a share of the deliveries is lost."""
    sizes = Sizes(orders=20, products=12, customers=12)
    return Setup(sizes=sizes, rate=rate, losses=losses or Losses())


@dataclass
class App:
    """What an operator and a developer can reach, and the store itself."""

    stores: Sandbox
    losses: Losses
    webhooks: ClientSession
    pool: asyncpg.Pool
    settings: Settings
    token: str = ""
    sent: int = 0
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {OPS}"})

    async def happen(self, topic: str, count: int = 1, **form: int) -> list[int]:
        """Something happens so often, and every webhook of it was sent or lost."""
        ids = await self.stores.happen(topic, shop=SHOP, **{"count": count, **form})
        self.sent += count
        await poll(self._all_told, within=LONG)
        return ids

    async def _all_told(self) -> bool:
        fates = (await self.stores.overview())["deliveries"]
        return bool(fates["taken"] + fates["lost"] >= self.sent)

    async def late(self) -> None:
        """What was lost comes after all."""
        address = f"{self.stores.addresses.store(SHOP)}/admin/late"
        async with self.stores.client.post(address, headers={"Accept": "application/json"}) as answer:
            assert (await answer.json())["late"] > 0
        await poll(self._all_told, within=LONG)

    async def next_second(self) -> None:
        """`updated_at` is to the second: two changes within one are not told apart by it."""
        second = int(time.time())
        await poll(lambda: int(time.time()) > second)

    async def bury(self, customer: int) -> None:
        """The customer was erased just now."""
        keys, now = PrivacyKeys(self.settings.service_key), datetime.now(UTC)
        mark = keys.customer(SHOP, "customer", str(customer))
        async with connection(self.pool, 3.0) as conn:
            await erase_store.bury(conn, "webhooks", [mark], keys.shop(SHOP), now, 14)

    async def lost(self) -> int:
        number: int = (await self.stores.overview())["deliveries"]["lost"]
        return number

    async def reconcile(self, within: float = LONG) -> Json:
        """Has the shop compared once everything is old enough; the ledger after that."""
        await self.old_enough()
        async with self.webhooks.post(ADDRESS, params={"shop": SHOP}, headers=self.headers) as answer:
            assert answer.status == 202, await answer.text()
            asked: str = (await answer.json())["asked_at"]

        async def ended() -> bool:
            now = await self.ledger()
            return not now["checking"] and (now["ended_at"] or "") >= asked and now["due_at"] > asked

        await poll(ended, within=within)
        return await self.ledger()

    async def old_enough(self) -> None:
        """What has happened until now may be judged: `updated_at` is to the second, and an hour is judged by it."""
        then = time.time() + 1.0 + GRACE
        await poll(lambda: time.time() > then)

    def environment(self, database: str) -> dict[str, str]:
        """For another process of webhooks, which compares."""
        mine = self.settings
        return {
            "DATABASE_URL": database, "PORT": str(free_port()), "SHOPIFY_API_SECRET": SECRET,
            "SERVICE_KEY": SERVICE_KEY,
            "OPS_TOKEN": OPS, "APP_URL": str(mine.app_url), "AUTH_URL": mine.auth_url,
            "SANDBOX_STORE_URL": str(mine.sandbox_store_url), "RECONCILE_GRACE_SECONDS": str(GRACE),
        }  # fmt: skip

    async def ledger(self, **query: str) -> Json:
        async with self.webhooks.get(ADDRESS, params={"shop": SHOP, **query}, headers=self.headers) as answer:
            assert answer.status == 200, await answer.text()
            found: Json = await answer.json()
            return found

    async def worked(self) -> None:
        """Everything that was accepted has been worked on."""
        await poll(lambda: self.pool.fetchval(IDLE), within=LONG)

    async def store_orders(self) -> dict[int, Json]:
        """The store's own orders."""
        found: dict[int, Json] = {}
        after = None
        while True:
            answer = await self.stores.graphql(self.token, ORDERS, after=after)
            page = answer["data"]["orders"]
            found |= {int(node["legacyResourceId"]): node for node in page["nodes"]}
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return found


ADDRESS = "/webhooks/reconciliation"


@asynccontextmanager
async def comparing(
    database: str,
    folder: Path,
    settings: MakeSettings,
    *,
    setup: Setup | None = None,
    faults: FaultPoints | None = None,
    **changes: object,
) -> AsyncIterator[App]:
    """A store that has installed the app and is subscribed to; nothing is lost yet."""
    setup = setup or quiet()
    share, setup.losses.share = setup.losses.share, 0.0
    keys: Json = {"shopify_api_key": CLIENT_ID, "shopify_api_secret": SECRET}
    async with AsyncExitStack() as stack:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        stores = await stack.enter_async_context(
            sandbox(folder, setup=setup, app_url=url, patience=Patience().scaled(0.001))
        )
        address = stores.settings.store_url
        auth = await stack.enter_async_context(
            running(database, **{**keys, "sandbox_store_url": address, "shopify_scopes": SCOPES})
        )
        reach = {
            "auth_url": str(auth.client._base_url),
            "sandbox_store_url": address,
            "service_key": SERVICE_KEY,
        }
        mine = settings(
            SwiftSettings, database_url=database, ops_token=OPS, app_url=url, shutdown_seconds=2.0,
            reconcile_grace_seconds=GRACE, **{**reach, **keys, **changes},
        )  # fmt: skip
        service = await stack.enter_async_context(webhooks_app.open_service(mine, faults=faults))
        webhooks = await stack.enter_async_context(serving([service], mine, port=port))
        workers = settings(WorkerSettings, database_url=database, ops_token=OPS, **{**reach, **keys})
        await stack.enter_async_context(worker_app.open_service(workers))
        pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=2))
        app = App(stores, setup.losses, webhooks, pool, mine)
        await stores.overview()  # makes its first goods
        await app.next_second()
        app.token = (await stores.installed(SCOPES)).access_token
        assert (await auth.exchange(token=await stores.session_token()))[0] == 200
        await poll(lambda: pool.fetchval(SUBSCRIBED, SHOP), within=LONG)
        setup.losses.share = share
        yield app


def one_in_a_hundred(seed: int = 33) -> Losses:
    return Losses(0.01, Random(seed))
