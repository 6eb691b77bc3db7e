"""Questions about pixel events touch the days and the rows that they are about, and no more, however much there is."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.db import open_pool
from libs.common.settings import CommonSettings
from services.worker import cases_store
from services.worker import events_store as store
from services.worker.events import LAST_ID
from services.worker.events_store import Spot, Wanted
from services.worker.pixel_partitions import Partitions
from services.worker.privacy_store import ERASE_EVENTS, FIND_EVENTS

SHOP = "first.myshopify.com"
TODAY = (datetime.now(UTC) - timedelta(days=1)).date()  # the whole of yesterday, whatever the time is now
NOW = datetime.combine(TODAY, time(23, 59), UTC)
WEEK = Wanted(SHOP, NOW - timedelta(days=7), NOW + timedelta(days=1))
NEWEST = Spot(NOW + timedelta(days=1), LAST_ID)
SEED = """
INSERT INTO worker.pixel_events
SELECT $2::date, CASE n % 10 WHEN 0 THEN $1 ELSE 'other' || n % 50 || '.myshopify.com' END,
       'e' || n, 'page_viewed', 'standard', 'visitor' || n % 400, n,
       ($2::date::timestamp AT TIME ZONE 'UTC') + n * interval '4 seconds', now(), 0, NULL, '{}'
FROM generate_series(1, 20000) AS n
"""
READ = """
SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::int8 FROM pg_stat_xact_user_tables
WHERE schemaname = 'worker' AND relname LIKE 'pixel_events%'
"""
Work = Callable[[asyncpg.Connection], Awaitable[Any]]


@pytest.fixture
async def conn(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with open_pool(CommonSettings.load(database_url=database)) as pool:
        await Partitions(pool, SystemClock(), 5.0, 90).keep()
    connection = await asyncpg.connect(database)
    await connection.execute(SEED, SHOP, TODAY)
    await connection.execute("ANALYZE worker.pixel_events")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    yield connection
    await connection.close()


QUESTIONS: dict[str, tuple[Work, int]] = {
    "a page": (lambda conn: store.page(conn, WEEK, TODAY, NEWEST, limit=50, depth=100), 150),
    "a page of a name that does not exist": (
        lambda conn: store.page(
            conn, Wanted(SHOP, WEEK.since, WEEK.until, "none"), TODAY, NEWEST, limit=50, depth=100
        ), 250,
    ),
    "where a page ends": (lambda conn: store.floor(conn, WEEK, TODAY, NEWEST, 100), 250),
    "a page of a visitor": (
        lambda conn: store.page(
            conn, Wanted(SHOP, WEEK.since, WEEK.until, None, "visitor10"), TODAY, NEWEST, limit=50, depth=100
        ), 150,
    ),
    "a visitor's timeline": (
        lambda conn: store.timeline(
            conn, SHOP, "visitor10", (TODAY - timedelta(days=7), TODAY), skip=0, limit=1_000
        ), 150,
    ),
    "browsers that events of one window name": (
        lambda conn: cases_store.clients(
            conn, SHOP, "anna", after=(NOW - timedelta(hours=12), ""), limit=50, timeout=60.0
        ), 150,
    ),
    "a person's events, where what names them is read once": (
        lambda conn: conn.fetch(FIND_EVENTS, SHOP, "anna", ["visitor10"]), 2 * 2_000 + 200,
    ),
    "erasing them": (
        lambda conn: conn.execute(ERASE_EVENTS, SHOP, "anna", ["visitor10"]), 2 * 2_000 + 200,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("work", "most"), QUESTIONS.values(), ids=QUESTIONS)
async def test_a_question_reads_what_it_is_about(conn: asyncpg.Connection, work: Work, most: int) -> None:
    await work(conn)
    async with conn.transaction():
        await work(conn)
        assert await conn.fetchval(READ) <= most


async def test_figures_are_counted_in_the_shops_part_of_an_index(conn: asyncpg.Connection) -> None:
    days, args = (TODAY, TODAY), (SHOP, TODAY, TODAY, 1)
    assert await store.counts(conn, SHOP, days, without=1)
    await conn.execute("SET plan_cache_mode = auto")
    for statement, more in ((store.COUNTS, ()), (store.FUNNEL, (["page_viewed"],))):
        plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {statement}", *args, *more))
        assert "Seq Scan" not in plan, plan
        assert "Index Cond: (shop =" in plan or "Index Cond: ((shop =" in plan, plan
        assert set(re.findall(r" on (pixel_events_\w+) pixel_events", plan)) <= {
            f"pixel_events_{TODAY:%Y%m%d}", "pixel_events_default",
        }, plan  # fmt: skip
