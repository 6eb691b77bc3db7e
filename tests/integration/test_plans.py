"""The hot statements cost the same however long the tables are: they read rows through an index, and few of them.

Plans are checked with fresh statistics and with those of nearly empty tables, which is what a backlog starts from;
and as the generic plans that prepared statements end up with.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.ids import IdFactory
from libs.common.outbox import (
    cancel_store,
    claim_store,
    end_store,
    gauge_store,
    list_store,
    look_store,
    put_store,
    retention_store,
)
from libs.common.outbox.cancel_store import Pointless
from libs.common.outbox.end_store import Attempt, Ending
from libs.common.outbox.list_store import FIRST_ID, LAST_ID, Place, Window
from libs.common.outbox.names import bind
from libs.common.outbox.put_store import Outgoing
from services.worker import backfill_room_store
from tests.integration.places import PLAN

ROWS = 50_000  # in the outbox, in history, and a tenth of it in failed and scheduled
SHOP, NOW = "first.myshopify.com", datetime.now(UTC)
TABLES = (
    "webhooks.messages", "webhooks.outbox", "worker.messages", "worker.outbox", "worker.scheduled", "worker.failed",
    "worker.history",
)  # fmt: skip

IDS = """
CREATE FUNCTION pg_temp.id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1795000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid
$$
"""
SEED = (
    """
INSERT INTO webhooks.messages (id, type, shop, key, time, content_type, body)
SELECT pg_temp.id(n), 'webhook.orders.create', $2, n::text, now(), 'application/json', '{}'
FROM generate_series(1, 12 * $1::bigint / 5) AS n
""",
    """
INSERT INTO webhooks.outbox (destination, lane, id)
SELECT 'worker', 'default', pg_temp.id(n) FROM generate_series(1, $1::bigint) AS n WHERE $2 <> ''
""",
    """
INSERT INTO worker.history (message_id, source, type, shop, lane, outcome, attempts, route, created_at, started_at)
SELECT pg_temp.id($1 + n), 'webhooks', 'webhook.orders.create', $2, 'default', 'completed', 1, 'postgres', now(), now()
FROM generate_series(1, $1::bigint) AS n
""",
    """
INSERT INTO worker.failed (source, message_id, type, shop, lane, reason, error, attempts, created_at)
SELECT 'webhooks', pg_temp.id(2 * $1 + n), 'webhook.orders.create', $2, 'default', 'never', 'no', 1, now()
FROM generate_series(1, $1::bigint / 10) AS n
""",
    """
INSERT INTO worker.scheduled (source, message_id, lane, due_at, reason)
SELECT 'webhooks', pg_temp.id(2 * $1 + $1 / 10 + n), 'default', now() + interval '1 hour', 'retry'
FROM generate_series(1, $1::bigint / 10) AS n WHERE $2 <> ''
""",
    """
INSERT INTO worker.messages (id, type, shop, time, content_type, correlation_id, body)
SELECT pg_temp.id(n), 'backfill.orders', $2, now(), 'application/json', 'a backfill', '{}'
FROM generate_series(1, $1::bigint / 10) AS n
""",
    """
INSERT INTO worker.outbox (destination, lane, id)
SELECT 'worker', 'bulk', pg_temp.id(n) FROM generate_series(1, $1::bigint / 10) AS n WHERE $2 <> ''
""",
)

READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int8 FROM pg_stat_xact_user_tables
WHERE schemaname || '.' || relname = ANY ($1)
"""

Work = Callable[[Connection], Awaitable[Any]]


@pytest.fixture(params=["analyzed", "grown"])
async def conn(database: str, request: pytest.FixtureRequest) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(database)
    for table in TABLES:
        await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    await connection.execute(IDS)
    if request.param == "grown":
        await seed(connection, 20)
        await connection.execute("ANALYZE")
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}")
    await seed(connection, ROWS)
    if request.param == "analyzed":
        await connection.execute("ANALYZE")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    yield connection
    await connection.close()


async def seed(conn: "asyncpg.Connection[Any]", rows: int) -> None:
    for statement in SEED:
        await conn.execute(statement, rows, SHOP)


def message(number: int) -> Message:
    """The number-th of what was seeded: first the outbox, then history, failed, scheduled."""
    text = f"{1795000000000 + number:012x}70008000{number:012x}"
    return Message(UUID(text), "webhook.orders.create", "webhooks", SHOP, NOW, b"{}")


def ending(number: int) -> Ending:
    return Ending(message(number), Lane.DEFAULT, "completed", "orders", "postgres", NOW)


def outgoing() -> Outgoing:
    draft = Draft("webhook.orders.create", b"{}", shop=SHOP, key=str(uuid4()))
    return Outgoing(IdFactory().new(), draft, Lane.DEFAULT, ("worker",), leased=True, time=NOW)


ATTEMPT = Attempt(NOW, NOW, "no", "postgres")
IN_OUTBOX = [message(number).id for number in range(1, 101)]
IN_HISTORY = [message(number).id for number in range(ROWS + 1, ROWS + 101)]
TOMORROW = NOW + timedelta(days=1)


def walk(place: Place, **window: object) -> Work:
    """A page of ten, looking through a hundred rows."""
    seen = Window(**window)  # type: ignore[arg-type]
    return lambda conn: list_store.walk(conn, place, "webhooks", "worker", seen, limit=10, depth=100)


def room(since: UUID) -> Work:
    return lambda conn: backfill_room_store.waiting(conn, uuid4(), 100, since=since)


def replay(number: int) -> Work:
    return lambda conn: end_store.replay(conn, "webhooks", "worker", message(number).id)


def expire(statement: str) -> Work:
    return lambda conn: retention_store.expire(
        conn, statement, "webhooks", "worker", after=FIRST_ID, floor=LAST_ID, cutoff=TOMORROW, limit=100
    )


def hot() -> Iterator[tuple[str, Work, int]]:
    """What every message and every look costs, and how many rows that may read: generous, but far from all."""
    yield (
        "claim",
        lambda c: claim_store.claim(c, "webhooks", PLAN, lane=Lane.DEFAULT, after=FIRST_ID, limit=100),
        600,
    )
    yield (
        "claim after the hint",
        lambda c: claim_store.claim(
            c, "webhooks", PLAN, lane=Lane.DEFAULT, after=message(40_000).id, limit=100
        ),
        600,
    )
    yield "renew", lambda c: claim_store.renew(c, "webhooks", PLAN, Lane.DEFAULT, IN_OUTBOX), 600
    yield (
        "give back",
        lambda c: claim_store.give_back(c, "webhooks", PLAN, Lane.DEFAULT, IN_OUTBOX, unharmed=True),
        600,
    )
    yield (
        "take over",
        lambda c: claim_store.take_over(c, "webhooks", PLAN, Lane.DEFAULT, IN_OUTBOX, counted=True),
        600,
    )
    yield "suspect", lambda c: claim_store.suspect(c, "webhooks", PLAN, Lane.DEFAULT, message(80).id), 10
    yield "put", lambda c: put_store.put(c, "webhooks", [outgoing()], holder="broker:x", lease_seconds=9), 10
    yield "known", lambda c: put_store.known(c, "webhooks", [outgoing().draft]), 10
    yield "end one", lambda c: end_store.end_one(c, "worker", ending(1)), 10
    yield "end many", lambda c: end_store.end_many(c, "worker", [ending(n) for n in range(2, 52)]), 300
    yield (
        "schedule",
        lambda c: end_store.schedule(
            c,
            "worker",
            message(60),
            Lane.DEFAULT,
            delay_seconds=9,
            reason="retry",
            attempt=ATTEMPT,
            counted=True,
        ),
        10,
    )
    yield (
        "fail",
        lambda c: end_store.fail(c, "worker", message(61), Lane.DEFAULT, reason="never", attempt=ATTEMPT),
        10,
    )
    for number in (ROWS + 200, 2 * ROWS + 1, 2 * ROWS + ROWS // 10 + 1):
        yield f"replay {number}", replay(number), 20
    yield "look", lambda c: look_store.look(c, "webhooks", "worker", [message(70).id]), 10
    yield "kept", lambda c: look_store.kept(c, "webhooks", IN_HISTORY), 200
    for name in ("EVERYWHERE", "READY", "QUEUED", "PROCESSING", "SCHEDULED", "FAILED", "HISTORY"):
        yield f"list {name}", walk(getattr(list_store, name)), 700
        yield f"list {name} of a shop", walk(getattr(list_store, name), shop="none.myshopify.com"), 700
        yield f"list {name} from", walk(getattr(list_store, name), before=message(ROWS // 2).id), 700
    yield "gauge of the outbox", lambda c: gauge_store.outbox(c, "webhooks", "worker", 100), 500
    yield "forget", lambda c: retention_store.forget(c, "webhooks", ["worker"], IN_HISTORY), 600
    yield "gauge of what is scheduled", lambda c: gauge_store.scheduled(c, "worker", 100), 200

    for since in (FIRST_ID, message(ROWS // 20).id):
        yield f"room for a backfill from {since}", room(since), 250


def background() -> Iterator[tuple[str, Work, int]]:
    """What is done at intervals, on tables whose statistics have had the time to be made."""
    yield "move due", lambda c: claim_store.move_due(c, "webhooks", PLAN, list(Lane), 100), 600
    yield (
        "free",
        lambda c: put_store.free(c, "webhooks", "broker:x", "worker", Lane.DEFAULT, message(ROWS - 50).id),
        600,
    )
    yield "occupied", lambda c: claim_store.occupied(c, "webhooks", "worker", list(Lane)), 100
    yield "next due", lambda c: claim_store.next_due(c, "worker", ["webhooks", "worker"], list(Lane)), 100
    yield (
        "ready of a shop",
        lambda c: cancel_store.ready(c, "webhooks", "worker", Lane.DEFAULT, SHOP, after=FIRST_ID, limit=100),
        600,
    )
    yield (
        "scheduled of a shop",
        lambda c: cancel_store.scheduled(c, "webhooks", "worker", SHOP, after=FIRST_ID, limit=100),
        600,
    )
    ready = [Pointless(identifier, "webhook.orders.create", "orders") for identifier in IN_OUTBOX]
    waiting = [Pointless(message(2 * ROWS + ROWS // 10 + n).id, "t", "orders") for n in range(300, 400)]
    yield (
        "cancel ready",
        lambda c: cancel_store.cancel_ready(c, "webhooks", "worker", Lane.DEFAULT, SHOP, ready, ATTEMPT),
        600,
    )
    yield (
        "cancel scheduled",
        lambda c: cancel_store.cancel_scheduled(c, "webhooks", "worker", SHOP, waiting, ATTEMPT),
        600,
    )
    yield "expire history", expire(retention_store.EXPIRE_DONE), 600
    yield "expire failed", expire(retention_store.EXPIRE_FAILED), 600
    yield (
        "old",
        lambda c: retention_store.old_messages(c, "webhooks", after=FIRST_ID, floor=LAST_ID, limit=100),
        300,
    )


async def test_few_rows_are_read(conn: "asyncpg.Connection[Any]") -> None:
    assert await costly(conn, hot()) == {}


@pytest.mark.parametrize("conn", ["analyzed"], indirect=True)
async def test_background_work_reads_few_rows_too(conn: "asyncpg.Connection[Any]") -> None:
    assert await costly(conn, background()) == {}


async def costly(conn: "asyncpg.Connection[Any]", works: Iterable[tuple[str, Work, int]]) -> dict[str, int]:
    """What read more rows than it may."""
    found = {}
    for name, work, most in works:
        async with conn.transaction():
            before = await conn.fetchval(READ, TABLES)
            await work(conn)
            read = await conn.fetchval(READ, TABLES) - before
        if read > most:
            found[name] = read
    return found


async def test_claims_and_ends_take_the_primary_key(conn: "asyncpg.Connection[Any]") -> None:
    seconds = timedelta(seconds=8)
    claim = ("worker", "default", FIRST_ID, 100, "worker:x", seconds, timedelta(0))
    assert await scans(conn, claim_store.CLAIM, *claim) == {"outbox_pkey", "messages_pkey"}
    end = ("worker", "default", message(1).id, "webhooks", "t", SHOP, "completed", "h", "postgres", NOW, NOW)
    assert await scans(conn, end_store.END_ONE, *end) == {"outbox_pkey"}
    room_for = (FIRST_ID, 100, FIRST_ID)
    assert await scans(conn, backfill_room_store.WAITING, *room_for) == {
        "outbox_pkey", "messages_pkey", "scheduled_due", "all of backfills",  # which are none here
    }  # fmt: skip
    window = (LAST_ID, FIRST_ID, 100, None, None, 10)
    assert await scans(conn, list_store.EVERYWHERE.page, *window) == {"messages_pkey"}
    assert await scans(conn, list_store.HISTORY.page, *window) == {"history_pkey"}
    assert await scans(conn, list_store.FAILED.page, "webhooks", *window) == {"failed_pkey"}


async def scans(conn: "asyncpg.Connection[Any]", statement: str, *args: object) -> set[str]:
    """The indexes a statement uses; a sequential scan shows as its table."""
    bound = bind(statement, source="webhooks", consumer="worker")
    (plan,) = orjson.loads(await conn.fetchval(f"EXPLAIN (FORMAT JSON) {bound}", *args))
    return set(_scans(plan["Plan"]))


def _scans(node: dict[str, Any]) -> Iterator[str]:
    if "Index Name" in node:
        yield node["Index Name"]
    elif node["Node Type"] == "Seq Scan":
        yield f"all of {node['Relation Name']}"
    for child in node.get("Plans", ()):
        yield from _scans(child)
