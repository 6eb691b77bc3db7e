"""A run of the reconciler: what goes wrong with one family leaves the others to be compared; it keeps its shop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.open import open_producer
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.tombstones import Tombstones
from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import AccessDenied, AdminError, Unavailable
from libs.common.shopify.admin.lanes import ApiLane
from services.webhooks.arrivals import Arrivals
from services.webhooks.config import Settings
from services.webhooks.reconcile import Reconciler
from services.webhooks.reconcile_feed import Feeder
from services.webhooks.reconcile_plan import FAMILIES
from tests.admin_double import AdminDouble
from tests.environment import MakeSettings
from tests.integration.auth_kit import OPS, SERVICE_KEY
from tests.session_tokens import CLIENT_ID, SECRET, SHOP
from tests.waiting import poll

INSTALLED = """
INSERT INTO webhooks.subscription_shops (shop, generation, checked_at) VALUES ($1, 1, now() - interval '5 hours')
"""
EARLIER = """
INSERT INTO webhooks.reconciled_shops (shop, generation, since, due_at, checked_at, families, denied)
SELECT shop, generation, checked_at, now(), now(),
       jsonb_build_object('orders', checked_at, 'gone', checked_at), '{customers}'
FROM webhooks.subscription_shops WHERE shop = $1
"""
SINCE = """
SELECT name, (moment #>> '{}')::timestamptz = since AS as_the_shop FROM webhooks.reconciled_shops,
       jsonb_each(families) AS f(name, moment) WHERE shop = $1 ORDER BY name
"""
STATE = (
    "SELECT denied, error, checked_at IS NOT NULL AS checked FROM webhooks.reconciled_shops WHERE shop = $1"
)
LEASED_UNTIL = "SELECT leased_until FROM webhooks.reconciled_shops WHERE shop = $1"
COMPARED = "SELECT DISTINCT family FROM webhooks.reconciled_hours WHERE shop = $1 ORDER BY family"


class Shopify(AdminDouble):
    """A shop in which nothing happens, and that answers some of what it is asked with errors, or after a while."""

    def __init__(self, errors: Mapping[str, AdminError]) -> None:
        self.errors = errors
        self.answers = asyncio.Event()
        self.answers.set()

    async def answered(
        self, shop: str, query: str, variables: Mapping[str, Any] | None, lane: ApiLane
    ) -> Answer:
        assert (shop, lane) == (SHOP, ApiLane.BACKFILL)
        await self.answers.wait()
        if "accessScopes" in query:
            handles = [{"handle": family.scope} for family in FAMILIES]
            return Answer({"currentAppInstallation": {"accessScopes": handles}})
        [name] = (family.name for family in FAMILIES if f"{{ {family.name}(" in query)
        if name in self.errors:
            raise self.errors[name]
        return Answer({name: {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}})


@asynccontextmanager
async def reconciler(
    pool: asyncpg.Pool, database: str, settings: MakeSettings, shopify: Shopify, lease: float = 60.0
) -> AsyncIterator[Reconciler]:
    mine = settings(
        Settings, database_url=database, ops_token=OPS, service_key=SERVICE_KEY, shopify_api_secret=SECRET,
        shopify_api_key=CLIENT_ID,
    )  # fmt: skip
    clock, keys = SystemClock(), PrivacyKeys(mine.service_key)
    async with open_producer(mine, schema="webhooks", pool=pool) as producer:
        tombstones = Tombstones(pool, "webhooks", keys, clock, 30.0)
        feeder = Feeder(pool, producer, tombstones, "2026-10", 30.0)
        arrivals = Arrivals(pool, tombstones, clock, 30.0, 1.0)
        yield Reconciler(
            pool,
            shopify,
            arrivals,
            feeder,
            clock,
            30.0,
            3600.0,
            1.0,
            14,
            FaultPoints(),
            600.0,
            lease=lease,
        )


async def turn(database: str, settings: MakeSettings, errors: Mapping[str, AdminError]) -> dict[str, Any]:
    """The shop after a run, with the families that have been compared."""
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as pool:
        await pool.execute(INSTALLED, SHOP)
        async with reconciler(pool, database, settings, Shopify(errors)) as one:
            assert await one.ask(SHOP)
            assert await one.turn(uuid4())
        row = await pool.fetchrow(STATE, SHOP)
        assert row is not None
        return {**row, "compared": [found["family"] for found in await pool.fetch(COMPARED, SHOP)]}


async def test_a_family_that_shopify_denies_is_named_and_the_run_is_done(
    database: str, settings: MakeSettings
) -> None:
    found = await turn(database, settings, {"orders": AccessDenied("not approved")})
    assert found == {
        "denied": ["orders"],
        "error": None,
        "checked": True,
        "compared": ["customers", "products"],
    }


@pytest.mark.parametrize("broken", ["orders", "products"])
async def test_a_family_that_cannot_be_told_about_breaks_off_the_run_after_the_others(
    database: str, settings: MakeSettings, broken: str
) -> None:
    found = await turn(database, settings, {broken: Unavailable("no answer")})
    others = sorted(family.name for family in FAMILIES if family.name != broken)
    assert found == {"denied": [], "error": "no answer", "checked": False, "compared": others}


async def test_a_family_that_was_not_compared_is_from_now_on_and_feeds_nothing_that_was_sent_to_nobody(
    database: str, settings: MakeSettings
) -> None:
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as pool:
        await pool.execute(INSTALLED, SHOP)
        await pool.execute(EARLIER, SHOP)
        async with reconciler(
            pool, database, settings, Shopify({"customers": AccessDenied("not yet")})
        ) as one:
            assert await one.turn(uuid4())
        assert [tuple(row) for row in await pool.fetch(SINCE, SHOP)] == [
            ("orders", True),
            ("products", False),
        ]
        assert [row["family"] for row in await pool.fetch(COMPARED, SHOP)] == ["orders"]


async def test_a_run_keeps_its_shop_however_long_shopify_takes(database: str, settings: MakeSettings) -> None:
    shopify, lease = Shopify({}), 5.0
    shopify.answers.clear()
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as pool:
        await pool.execute(INSTALLED, SHOP)
        async with reconciler(pool, database, settings, shopify, lease) as one:
            assert await one.ask(SHOP)
            run = asyncio.create_task(one.turn(uuid4()))
            first = await poll(lambda: pool.fetchval(LEASED_UNTIL, SHOP))

            async def leased_anew() -> bool:
                assert not await one.turn(uuid4())  # nobody else gets it
                return bool(await pool.fetchval(LEASED_UNTIL, SHOP) > first + timedelta(seconds=lease / 2))

            await poll(leased_anew, 30)
            shopify.answers.set()
            assert await run
        assert await pool.fetchval("SELECT checked_at IS NOT NULL FROM webhooks.reconciled_shops")
