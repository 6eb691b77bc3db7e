"""From when a shop is compared, what is known by then, and what is forgotten."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from libs.common.clock import Clock, SystemClock
from libs.common.db import Connection
from libs.common.ids import id_floor
from libs.common.outbox import erase_store
from libs.common.outbox.names import bind
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.tombstones import Tombstones
from services.webhooks import arrivals, arrivals_store, reconcile_store
from services.webhooks.arrivals import Arrivals
from services.webhooks.arrivals_store import Delivered
from services.webhooks.forget import Forgetting
from services.webhooks.reconcile_store import Fed
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


MARKED_LATE = "SELECT topic FROM webhooks.reconciled WHERE late_at IS NOT NULL ORDER BY topic"
DUE = "UPDATE webhooks.reconciled_shops SET due_at = now() - interval '1 second' WHERE shop = $1"
LEASE_OVER = "UPDATE webhooks.reconciled_shops SET leased_until = now() - interval '1 second' WHERE shop = $1"
KEYS = PrivacyKeys(SecretStr("k" * 64))


def reading(pool: asyncpg.Pool, clock: Clock, settle: float = 60.0) -> Arrivals:
    return Arrivals(pool, Tombstones(pool, "webhooks", KEYS, clock, 30.0), clock, 30.0, settle)


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
    until = await reading(pool, fast).catch_up()
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


async def stored(pool: asyncpg.Pool, body: bytes, *, ago: timedelta = timedelta(minutes=5)) -> None:
    """A webhook of an order was accepted so long ago."""
    then = datetime.now(UTC) - ago
    await pool.execute(MESSAGE, id_floor(then), SHOP, str(uuid4()), then, body)


async def test_who_was_buried_and_is_about_to_be_erased_leaves_no_number_behind(pool: asyncpg.Pool) -> None:
    await pool.execute(INSTALLED, SHOP, timedelta(days=9))
    for number, (customer, ago) in enumerate(((7, 5), (8, 6)), 1):
        body = b'{"id": %d, "customer": {"id": %d}}' % (number, customer)
        await stored(pool, body, ago=timedelta(minutes=ago))
    mark, until = KEYS.customer(SHOP, "customer", "7"), datetime.now(UTC)
    async with pool.acquire() as conn:
        await erase_store.bury(conn, "webhooks", [mark], KEYS.shop(SHOP), until, 14)
    await reading(pool, SystemClock()).catch_up()
    assert [row["resource_id"] for row in await pool.fetch(KNOWN, SHOP)] == [2]


BURIED = """
INSERT INTO webhooks.privacy_tombstones (mark, shop_mark, before, expires_at)
SELECT decode(md5(n::text), 'hex'), decode(md5('shop ' || n % 500), 'hex'), now(), now() + interval '1 day'
FROM generate_series(1, 20000) AS n
"""


async def test_only_tombstones_of_the_shops_at_hand_are_read(pool: asyncpg.Pool) -> None:
    await pool.execute(BURIED)
    await pool.execute("ANALYZE webhooks.privacy_tombstones")
    async with pool.acquire() as conn, conn.transaction():
        await erase_store.bury(conn, "webhooks", [b"mark"], KEYS.shop(SHOP), datetime.now(UTC), 14)
        held = await erase_store.tombstones_held(conn, "webhooks", [KEYS.shop(SHOP)])
        statement = bind(erase_store.TOMBSTONES_OF, source="webhooks")
        plan = await conn.fetch(f"EXPLAIN {statement}", [KEYS.shop(SHOP)])
    assert [row["mark"] for row in held] == [b"mark"]
    assert any("privacy_tombstones_shop" in row[0] for row in plan)


class RestingClock(TurnedClock):
    """Remembers how long was slept."""

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))
        self.rests: list[float] = []

    def monotonic(self) -> float:
        self.turn(1.0)  # between two looks at it
        return super().monotonic()

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        await super().sleep(seconds)


async def test_reading_a_backlog_rests_as_long_as_it_works(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_AT_ONCE", 1)
    await pool.execute(INSTALLED, SHOP, timedelta(days=9))
    for number in range(3):
        await stored(pool, b'{"id": %d}' % (number + 1), ago=timedelta(minutes=5 + number))
    clock = RestingClock()
    await reading(pool, clock).catch_up()
    assert clock.rests == [1.0] * 3


ORDER, NOON = 5, datetime(2026, 11, 28, 12, tzinfo=UTC)


async def fed(pool: asyncpg.Pool, *topics: str) -> None:
    """These topics of an order had not come and were fed."""
    async with pool.acquire() as conn:
        ones = [Fed("orders", ORDER, NOON, topic, id_floor(NOON), None) for topic in topics]
        await reconcile_store.note(conn, SHOP, ones)


@pytest.mark.parametrize(
    ("came", "late"),
    [
        ("orders/updated", ["orders/updated"]),  # the state; that it was created is still not told
        ("orders/paid", ["orders/updated"]),
        ("orders/create", ["orders/create", "orders/updated"]),
    ],
)
async def test_only_what_a_late_webhook_tells_counts_as_come(
    pool: asyncpg.Pool, came: str, late: list[str]
) -> None:
    await fed(pool, "orders/create", "orders/updated")
    delivered = Delivered(SHOP, "orders", ORDER, NOON, came, id_floor(NOON + timedelta(hours=1)))
    async with pool.acquire() as conn:
        number = await arrivals_store.mark_late(conn, [delivered], ["orders/updated"])
    assert [row["topic"] for row in await pool.fetch(MARKED_LATE)] == late
    assert number == len(late)


async def compared(conn: Connection, holder: UUID) -> None:
    """A run takes the shop, which is due."""
    await conn.execute(DUE, SHOP)
    assert await reconcile_store.take_due(conn, holder, timedelta(minutes=1))


@pytest.mark.parametrize("ends", ["finishes", "fails"])
async def test_who_asks_while_a_run_is_past_its_lease_is_answered_by_the_next(
    pool: asyncpg.Pool, ends: str
) -> None:
    holder, hour = uuid4(), timedelta(hours=1)
    await pool.execute(INSTALLED, SHOP, timedelta(days=9))
    async with pool.acquire() as conn:
        await reconcile_store.take_in(conn, hour)
        await compared(conn, holder)
        await conn.execute(LEASE_OVER, SHOP)
        assert await reconcile_store.ask(conn, SHOP)
        assert await reconcile_store.hold(conn, SHOP, holder, hour)
        if ends == "finishes":
            await reconcile_store.finish(conn, SHOP, holder, hour, [], NOON)
        else:
            await reconcile_store.fail(conn, SHOP, holder, "no answer", hour)
        again = await reconcile_store.take_due(conn, uuid4(), hour)
        assert again is not None
        assert again.asked
