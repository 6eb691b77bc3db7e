"""Backlogs: rows in the outbox as producers leave them, made in one statement."""

import time

import asyncpg

from libs.common.contracts.topology import Lane
from libs.common.outbox.wakes import Wake, channel

BODY_BYTES = 1_000

# Ids count up within the current millisecond, as UUIDv7s of one moment would.
_FILL = """
WITH ids AS (
    SELECT (lpad(to_hex($1::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid AS id
    FROM generate_series(1, $2::int) AS n
), stored AS (
    INSERT INTO webhooks.messages (id, type, shop, time, content_type, body)
    SELECT id, $3, 'bench.myshopify.com', now(), 'application/json', convert_to(repeat('x', $4), 'UTF8')
    FROM ids ORDER BY id
    RETURNING id
)
INSERT INTO webhooks.outbox (destination, lane, id) SELECT 'worker', 'default', id FROM stored
"""
_NOTIFY = "SELECT pg_notify($1, $2)"
_SETTLE = "VACUUM (ANALYZE) webhooks.outbox, webhooks.messages"
_FORGET = "TRUNCATE webhooks.messages, webhooks.outbox, worker.history, worker.bench_rows"


async def fill(conn: asyncpg.Connection, number: int, message_type: str, *, body: int = BODY_BYTES) -> None:
    """Adds ready rows and wakes the consumers."""
    await conn.execute(_FILL, time.time_ns() // 1_000_000, number, message_type, body, timeout=900)
    first = await conn.fetchval("SELECT id FROM webhooks.outbox ORDER BY id LIMIT 1")
    if first is not None:
        wake = Wake("webhooks", Lane.DEFAULT, first)
        await conn.execute(_NOTIFY, channel("worker"), wake.payload())


async def settle(conn: asyncpg.Connection) -> None:
    """What autovacuum does to a table that grew: afterwards the planner knows how large it is."""
    await conn.execute(_SETTLE, timeout=900)


async def forget(conn: asyncpg.Connection) -> None:
    """Empties what messages leave behind, between two rounds."""
    await conn.execute(_FORGET, timeout=60)
