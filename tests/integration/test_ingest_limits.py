"""Limits hold over processes, which meet in Postgres alone, and a flood is told when to come again."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from libs.common.clock import SystemClock
from libs.common.db import open_pool
from libs.common.settings import CommonSettings
from services.ingest import store
from services.ingest.config import Settings
from services.ingest.limits import FREE, Limit, Limits
from services.ingest.store import Ask
from tests.environment import MakeSettings
from tests.integration.ingest_kit import OTHER_SHOP, add_key, event, ingesting


def process(pool: asyncpg.Pool, limit: Limit) -> Limits:
    async def lease(asks: Sequence[Ask]) -> dict[str, float]:
        async with pool.acquire() as conn:
            return await store.lease(conn, asks)

    return Limits("key", limit, lease, SystemClock())


async def test_four_processes_together_keep_the_limit(database: str) -> None:
    limit = Limit(rate=200.0, burst=1_000.0)
    async with open_pool(CommonSettings.load(database_url=database)) as pool:
        processes = [process(pool, limit) for _ in range(4)]
        loop = asyncio.get_running_loop()
        began, passed = loop.time(), 0

        async def flood(one: Limits) -> None:
            nonlocal passed
            for _ in range(400):
                if await one.take("a", 5) is None:
                    passed += 5
                await asyncio.sleep(0)

        await asyncio.gather(*(flood(one) for one in processes for _ in range(3)))
        seconds = loop.time() - began
        assert passed <= (limit.burst + limit.rate * seconds) * (1 + 4 * FREE)
        assert passed >= limit.burst


async def test_the_same_names_in_any_order_do_not_deadlock(database: str) -> None:
    names = [f"n{n}" for n in range(30)]
    async with open_pool(CommonSettings.load(database_url=database)) as pool:

        async def ask(order: int) -> dict[str, float]:
            async with pool.acquire() as conn:
                return await store.lease(conn, [Ask(name, 10, 100, 7) for name in names[::order]])

        granted = await asyncio.gather(*(ask(1 if n % 2 else -1) for n in range(20)))
        for name in names:
            assert sum(one[name] for one in granted) <= 100 + 10 * 60


async def test_full_buckets_are_forgotten_and_others_kept(database: str) -> None:
    async with open_pool(CommonSettings.load(database_url=database)) as pool, pool.acquire() as conn:
        await store.lease(conn, [Ask("slow", 0.001, 100, 50), Ask("quick", 1e6, 100, 50)])
        assert await store.forget_limits(conn, 10) == 1
        assert await conn.fetchval("SELECT array_agg(name) FROM ingest.limits") == ["slow"]


async def test_a_flood_of_one_key_is_told_to_wait_and_another_is_untouched(
    database: str, settings: MakeSettings
) -> None:
    few: dict[str, Any] = {"ingest_key_per_second": 1.0, "ingest_key_burst": 100}
    async with ingesting(settings(Settings, database_url=database, **few)) as door:
        other = await add_key(door.database, OTHER_SHOP)
        answers = [await door.send([event() for _ in range(20)]) for _ in range(8)]
        assert [answer.status for answer in answers].count(204) == 5
        assert answers[-1].status == 429
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert answers[-1].headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert (await door.send([event() for _ in range(20)], key=other)).status == 204


async def test_a_flood_of_one_address_is_told_to_wait_whatever_its_keys(
    database: str, settings: MakeSettings
) -> None:
    few: dict[str, Any] = {
        "ingest_address_per_second": 1.0, "ingest_address_burst": 100, "ingest_proxies": 1,
    }  # fmt: skip
    async with ingesting(settings(Settings, database_url=database, **few)) as door:
        headers = {"X-Forwarded-For": "9.9.9.9, 1.2.3.4"}
        statuses = [(await door.send(list(range(60)), headers=headers)).status for _ in range(4)]
        assert statuses[0] == 204
        assert statuses[-1] == 429
        assert (await door.send([event()], headers={"X-Forwarded-For": "1.2.3.4, 1.2.3.5"})).status == 204
