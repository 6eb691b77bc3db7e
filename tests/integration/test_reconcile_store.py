"""From when a shop is compared, what is known by then, and what is forgotten."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from libs.common.ids import id_floor
from services.webhooks import reconcile_store
from services.webhooks.arrivals import Arrivals
from services.webhooks.forget import Forgetting
from tests.clocks import TurnedClock
from tests.session_tokens import SHOP

GONE = "gone.myshopify.com"
INSTALLED = """
INSERT INTO webhooks.subscription_shops (shop, generation, checked_at, due_at)
VALUES ($1, 1, now() - $2::interval, now())
"""
SINCE = """
SELECT r.since = a.since AS read, r.since = s.checked_at AS checked
FROM webhooks.reconciled_shops AS r JOIN webhooks.subscription_shops AS s USING (shop), webhooks.arrivals_read AS a
WHERE r.shop = $1
"""
MESSAGE = """
INSERT INTO webhooks.messages (id, type, shop, key, time, content_type, body)
VALUES ($1, 'webhook.orders.create', $2, $3, $4, 'application/json', $5)
"""
MANY = """
INSERT INTO webhooks.arrivals (shop, family, resource_id, updated_at, topics)
SELECT $1, 'orders', n, now() - n % 20 * interval '1 day', '{}' FROM generate_series(1, 1000) AS n
"""
MANY_HOURS = """
INSERT INTO webhooks.reconciled_hours
    (shop, family, hour, until, at_shopify, arrived, reconciled, missing, checked_at)
SELECT $1, 'orders', now() - n * interval '1 hour', now(), 0, 0, 0, 0, now() FROM generate_series(1, 480) AS n
"""
MANY_FED = """
INSERT INTO webhooks.reconciled (shop, family, resource_id, updated_at, topic)
SELECT $1, 'orders', n, now() - n % 20 * interval '1 day', 'orders/create' FROM generate_series(1, 100) AS n
"""
LEFT = """
SELECT (SELECT count(*) FROM webhooks.arrivals) AS arrivals,
       (SELECT count(*) FROM webhooks.reconciled) AS fed,
       (SELECT count(*) FROM webhooks.reconciled_hours) AS hours,
       (SELECT bool_and(updated_at >= now() - interval '14 days') FROM webhooks.arrivals) AS young
"""
KNOWN = "SELECT resource_id FROM webhooks.arrivals WHERE shop = $1 ORDER BY resource_id"


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database, min_size=1, max_size=2) as found:
        yield found


@pytest.mark.parametrize(("ago", "by"), [(timedelta(days=9), "read"), (timedelta(minutes=5), "checked")])
async def test_a_shop_is_not_compared_from_before_arrivals_are_known(
    pool: asyncpg.Pool, ago: timedelta, by: str
) -> None:
    async with pool.acquire() as conn:
        await conn.execute(INSTALLED, SHOP, ago)
        await reconcile_store.take_in(conn, timedelta(hours=1))
    row = await pool.fetchrow(SINCE, SHOP)
    assert row is not None
    assert [name for name, is_so in row.items() if is_so] == [by]


async def test_what_is_known_is_told_by_the_clock_of_postgres(pool: asyncpg.Pool) -> None:
    await pool.execute(INSTALLED, SHOP, timedelta(days=9))
    now = datetime.now(UTC)
    for number, ago in enumerate((timedelta(hours=23), timedelta(seconds=90), timedelta(seconds=20)), 1):
        body = b'{"id": %d, "updated_at": "2026-11-28T04:00:00Z"}' % number
        await pool.execute(MESSAGE, id_floor(now - ago), SHOP, str(number), now, body)
    fast = TurnedClock(now + timedelta(hours=1))
    until = await Arrivals(pool, fast, 30.0, 60.0).catch_up()
    assert now - timedelta(seconds=90) < until < datetime.now(UTC) - timedelta(seconds=59)
    assert [row["resource_id"] for row in await pool.fetch(KNOWN, SHOP)] == [1, 2]


async def test_what_is_old_is_forgotten_in_small_steps_of_every_shop_even_of_those_that_are_gone(
    pool: asyncpg.Pool,
) -> None:
    for shop in (SHOP, GONE):
        for statement in (MANY, MANY_HOURS, MANY_FED):
            await pool.execute(statement, shop)
    await Forgetting(pool, TurnedClock(), 30.0, timedelta(days=14), at_once=70).forget()
    row = await pool.fetchrow(LEFT)
    assert row is not None
    assert dict(row) == {"arrivals": 2 * 700, "fed": 2 * 70, "hours": 2 * 335, "young": True}
