"""What is fed of a person, before an erasure, amid one, and after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import orjson

from libs.common.clock import SystemClock
from libs.common.outbox import erase_store
from libs.common.outbox.open import open_producer
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.tombstones import Tombstones
from services.webhooks.config import Settings
from services.webhooks.reconcile_feed import Fate, Feeder, Gap, Grip
from services.webhooks.reconcile_plan import FAMILIES
from tests.environment import MakeSettings
from tests.integration.auth_kit import OPS, SERVICE_KEY
from tests.session_tokens import CLIENT_ID, SECRET, SHOP
from tests.waiting import poll

CUSTOMERS = FAMILIES[2]
UPDATE = "customers/update"
CUSTOMER = 77
COMPARED = """
INSERT INTO webhooks.reconciled_shops (shop, generation, since, due_at, holder, leased_until)
VALUES ($1, 1, now(), now(), $2, now() + interval '1 hour')
"""
HELD = "SELECT FROM webhooks.reconciled_shops WHERE shop = $1 FOR UPDATE"
FEEDER_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND query LIKE '%UPDATE webhooks.reconciled_shops%')
"""
FED = "SELECT type FROM webhooks.messages ORDER BY type"
NOTED = "SELECT topic FROM webhooks.reconciled"


@dataclass
class Feeding:
    """A shop that a run holds."""

    feeder: Feeder
    pool: asyncpg.Pool
    keys: PrivacyKeys
    holder: UUID

    async def feed(self, **topics: datetime | None) -> Fate:
        now = datetime.now(UTC)
        body = orjson.dumps({"id": CUSTOMER, "email": "anna@example.com"})
        named = {f"customers/{what}": at for what, at in topics.items()}
        gap = Gap(CUSTOMER, named, now, now, body, f"gid://shopify/Customer/{CUSTOMER}")
        grip = Grip(SHOP, self.holder, timedelta(hours=1))
        [fate] = await self.feeder.feed(grip, CUSTOMERS, [gap])
        return fate

    async def bury(self, before: datetime | None = None) -> None:
        mark = self.keys.customer(SHOP, "customer", str(CUSTOMER))
        until = before or datetime.now(UTC) + timedelta(minutes=1)
        async with self.pool.acquire() as conn:
            await erase_store.bury(conn, "webhooks", [mark], self.keys.shop(SHOP), until, 14)

    async def fed(self) -> list[str]:
        return [row["type"] for row in await self.pool.fetch(FED)]


@asynccontextmanager
async def feeding(database: str, settings: MakeSettings) -> AsyncIterator[Feeding]:
    mine = settings(
        Settings, database_url=database, ops_token=OPS, service_key=SERVICE_KEY, shopify_api_secret=SECRET,
        shopify_api_key=CLIENT_ID,
    )  # fmt: skip
    keys, holder = PrivacyKeys(mine.service_key), uuid4()
    async with (
        asyncpg.create_pool(database, min_size=1, max_size=4) as pool,
        open_producer(mine, schema="webhooks", pool=pool) as producer,
    ):
        await pool.execute(COMPARED, SHOP, holder)
        tombstones = Tombstones(pool, "webhooks", keys, SystemClock(), 30.0)
        yield Feeding(Feeder(pool, producer, tombstones, "2026-10", 30.0), pool, keys, holder)


async def test_who_is_erased_while_a_run_is_about_to_feed_is_not_fed(
    database: str, settings: MakeSettings
) -> None:
    async with feeding(database, settings) as one:
        async with one.pool.acquire() as conn, conn.transaction():
            await conn.execute(HELD, SHOP)
            fed = asyncio.create_task(one.feed(create=datetime.now(UTC), update=None))
            await poll(lambda: one.pool.fetchval(FEEDER_WAITS))
            await one.bury()
        assert await fed is Fate.WITHHELD
        assert await one.fed() == []
        assert await one.pool.fetch(NOTED) == []


async def test_a_change_after_an_erasure_is_fed_and_the_creation_before_it_is_not(
    database: str, settings: MakeSettings
) -> None:
    async with feeding(database, settings) as one:
        erased = datetime.now(UTC)
        created = erased - timedelta(days=1)
        await one.bury(erased)
        assert await one.feed(create=created) is Fate.WITHHELD
        assert await one.feed(create=created, update=None) is Fate.RECONCILED
        assert await one.fed() == ["webhook.customers.update"]
        assert [row["topic"] for row in await one.pool.fetch(NOTED)] == [UPDATE]
