"""SQL that says where messages stand and how many stand where, and moves none of them.

A message and all its places belong to one source, so one statement sees it in exactly one of them, however it moves
meanwhile. A lease that has run out counts for nothing: whoever claims next may take such a row.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.outbox.names import bind

LANES = [lane.value for lane in Lane]

# OFFSET 0 keeps each look-up one on its own index, whatever the planner believes of the tables' sizes.
LOOK = """
SELECT w.id, $3::text AS source, coalesce(m.type, f.type, h.type) AS type, coalesce(m.shop, f.shop, h.shop) AS shop,
       coalesce(o.lane, s.lane, f.lane, h.lane) AS lane, coalesce(o.status, s.status, f.status, h.status) AS status,
       h.outcome, coalesce(s.reason, f.reason) AS reason,
       jsonb_array_length(coalesce(o.log, s.log, f.log, h.log, '[]'))
           + (coalesce(h.outcome, 'cancelled') <> 'cancelled')::int AS tries,  -- whose log has its last attempt
       coalesce(f.failed_at, h.finished_at) AS finished_at, s.due_at AS next_attempt_at,
       h.handler, f.error, h.route, h.started_at, m.subject, m.correlation_id, m.dataschema,
       coalesce(o.log, s.log, f.log, h.log) AS log
FROM unnest($4::uuid[]) AS w(id)
LEFT JOIN LATERAL (
    SELECT type, shop, subject, correlation_id, dataschema FROM SOURCE.messages WHERE id = w.id OFFSET 0
) AS m ON true
LEFT JOIN LATERAL (
    SELECT lane, log, CASE WHEN leased_until IS NULL OR leased_until < now() THEN 'pending'
                           WHEN holder LIKE 'broker:%' THEN 'queued' ELSE 'processing' END AS status
    FROM SOURCE.outbox WHERE destination = $1 AND lane = ANY ($2::text[]) AND id = w.id OFFSET 0
) AS o ON true
LEFT JOIN LATERAL (
    SELECT lane, log, reason, due_at, 'pending' AS status
    FROM CONSUMER.scheduled WHERE source = $3 AND message_id = w.id OFFSET 0
) AS s ON true
LEFT JOIN LATERAL (
    SELECT lane, log, reason, error, type, shop, failed_at, 'failed' AS status
    FROM CONSUMER.failed WHERE source = $3 AND message_id = w.id OFFSET 0
) AS f ON true
LEFT JOIN LATERAL (
    SELECT lane, log, outcome, handler, route, type, shop, started_at, finished_at, 'completed' AS status
    FROM CONSUMER.history WHERE source = $3 AND message_id = w.id OFFSET 0
) AS h ON true
ORDER BY w.id DESC
"""


async def look(conn: Connection, source: str, consumer: str, ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """Where messages stand and how they got there, newest first.

    The status is None for those that this source and this consumer know nothing of.
    """
    return await conn.fetch(bind(LOOK, source=source, consumer=consumer), consumer, LANES, source, list(ids))


KEPT = "SELECT id FROM SOURCE.messages WHERE id = ANY ($1::uuid[])"


async def kept(conn: Connection, source: str, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these messages still have their payload."""
    return {row["id"] for row in await conn.fetch(bind(KEPT, source=source), list(ids))}


COUNT_SOURCE = """
SELECT (SELECT count(*) FROM SOURCE.messages) AS accepted,
       (SELECT coalesce(sum(total), 0)::int8 FROM SOURCE.duplicates) AS duplicates,
       count(*) FILTER (WHERE standing = 'free') AS pending,
       count(*) FILTER (WHERE standing = 'broker') AS queued,
       count(*) FILTER (WHERE standing = 'worker') AS processing,
       coalesce(greatest(extract(epoch FROM now() - min(ready_at) FILTER (WHERE standing = 'free')), 0), 0)::float8
           AS oldest_pending_age_seconds
FROM (
    SELECT ready_at, CASE WHEN leased_until IS NULL OR leased_until < now() THEN 'free'
                          WHEN holder LIKE 'broker:%' THEN 'broker' ELSE 'worker' END AS standing
    FROM SOURCE.outbox WHERE destination = $1
) AS o
"""


async def count_source(conn: Connection, source: str, consumer: str, *, seconds: float) -> asyncpg.Record:
    """How many messages a source has for a consumer, by place. Reads the whole tables."""
    return await _one(conn, bind(COUNT_SOURCE, source=source), consumer, seconds=seconds)


COUNT_CONSUMER = """
SELECT (SELECT count(*) FROM CONSUMER.scheduled WHERE source = ANY ($1)) AS scheduled,
       (SELECT count(*) FROM CONSUMER.failed WHERE source = ANY ($1)) AS failed,
       count(*) AS completed,
       count(*) FILTER (WHERE outcome = 'unhandled') AS unhandled,
       count(*) FILTER (WHERE route = 'rabbitmq') AS rabbitmq,
       count(*) FILTER (WHERE route = 'postgres') AS postgres
FROM CONSUMER.history WHERE source = ANY ($1)
"""


async def count_consumer(
    conn: Connection, consumer: str, sources: Sequence[str], *, seconds: float
) -> asyncpg.Record:
    """How many messages a consumer has put aside, given up and ended. Reads the whole tables."""
    return await _one(conn, bind(COUNT_CONSUMER, consumer=consumer), list(sources), seconds=seconds)


async def _one(conn: Connection, statement: str, *args: object, seconds: float) -> asyncpg.Record:
    row = await conn.fetchrow(statement, *args, timeout=seconds)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY always has its row
    return row
