"""SQL that finds what waits for a handler, and ends it unstarted where its work has lost its point.

Nothing here takes a message out of a consumer's hand: rows under a lease stay, and where somebody is faster the DELETE
finds no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.ids import made_at
from libs.common.outbox.end_store import Attempt
from libs.common.outbox.names import bind

LAST_ID = UUID(int=(1 << 128) - 1)

NEVER_STARTED = "never started: "
"""What the error of an attempt begins with that was none: it only says why the message was ended."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message of a shop that is not done yet."""

    id: UUID
    lane: Lane
    type: str
    time: datetime
    held: bool  # by a consumer, or by RabbitMQ on its way to one
    scheduled: bool  # waits for its time, not in the outbox


@dataclass(frozen=True, slots=True)
class Pointless:
    """A message to end, with the handler that would have worked on it."""

    id: UUID
    type: str
    handler: str


READY_END = """
SELECT id FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id > $3 ORDER BY id OFFSET $4 - 1 LIMIT 1
"""

# OFFSET 0 keeps each a look-up by primary key: there is no index on shops, which every accepted message would pay for.
READY_OF_SHOP = """
SELECT looked.id, looked.lane, m.type, m.time, looked.held, false AS scheduled FROM (
    SELECT id, lane, coalesce(leased_until >= now(), false) AS held
    FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id > $3 AND id <= $4 ORDER BY id
) AS looked
CROSS JOIN LATERAL (SELECT type, time, shop FROM SOURCE.messages WHERE id = looked.id OFFSET 0) AS m
WHERE m.shop = $5
"""


async def ready(
    conn: Connection, source: str, consumer: str, lane: Lane, shop: str, *, after: UUID, limit: int
) -> tuple[list[Waiting], UUID | None]:
    """A shop's messages among the next `limit` rows of a lane, and where to go on; None where there are no more."""
    end = await conn.fetchval(bind(READY_END, source=source), consumer, lane.value, after, limit)
    rows = await conn.fetch(
        bind(READY_OF_SHOP, source=source), consumer, lane.value, after, end or LAST_ID, shop
    )
    return _waiting(rows), end


SCHEDULED_END = """
SELECT message_id FROM CONSUMER.scheduled WHERE source = $1 AND message_id > $2
ORDER BY message_id OFFSET $3 - 1 LIMIT 1
"""

SCHEDULED_OF_SHOP = """
SELECT looked.message_id AS id, looked.lane, m.type, m.time, false AS held, true AS scheduled
FROM (
    SELECT message_id, lane FROM CONSUMER.scheduled
    WHERE source = $1 AND message_id > $2 AND message_id <= $3 ORDER BY message_id
) AS looked
CROSS JOIN LATERAL (SELECT type, time, shop FROM SOURCE.messages WHERE id = looked.message_id OFFSET 0) AS m
WHERE m.shop = $4
"""


async def scheduled(
    conn: Connection, source: str, consumer: str, shop: str, *, after: UUID, limit: int
) -> tuple[list[Waiting], UUID | None]:
    """A shop's messages among the next `limit` that wait for their time, and where to go on, as `ready` does."""
    end = await conn.fetchval(bind(SCHEDULED_END, consumer=consumer), source, after, limit)
    rows = await conn.fetch(
        bind(SCHEDULED_OF_SHOP, source=source, consumer=consumer), source, after, end or LAST_ID, shop
    )
    return _waiting(rows), end


# Locked in the order of their ids, and only rows that nobody holds.
CANCEL_READY = """
WITH live AS (
    SELECT id FROM SOURCE.outbox
    WHERE destination = $9 AND lane = $10 AND id = ANY ($1::uuid[]) AND (leased_until IS NULL OR leased_until < now())
    ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM SOURCE.outbox WHERE destination = $9 AND lane = $10 AND id = ANY (ARRAY(SELECT id FROM live))
    RETURNING id, lane, attempt, log
)
INSERT INTO CONSUMER.history
    (message_id, attempts, log, lane, source, type, shop, outcome, handler, route, created_at, started_at)
SELECT gone.id, gone.attempt + 1, coalesce(gone.log, '[]') || $4::jsonb, gone.lane, $2, i.type, $3, 'cancelled',
       i.handler, 'postgres', i.created_at, $5
FROM gone JOIN unnest($1::uuid[], $6::text[], $7::text[], $8::timestamptz[])
    AS i(id, type, handler, created_at) USING (id)
RETURNING message_id
"""

CANCEL_SCHEDULED = """
WITH live AS (
    SELECT message_id FROM CONSUMER.scheduled WHERE source = $2 AND message_id = ANY ($1::uuid[])
    ORDER BY message_id FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM CONSUMER.scheduled WHERE source = $2 AND message_id = ANY (ARRAY(SELECT message_id FROM live))
    RETURNING message_id AS id, lane, attempt, log
)
INSERT INTO CONSUMER.history
    (message_id, attempts, log, lane, source, type, shop, outcome, handler, route, created_at, started_at)
SELECT gone.id, gone.attempt + 1, coalesce(gone.log, '[]') || $4::jsonb, gone.lane, $2, i.type, $3, 'cancelled',
       i.handler, 'postgres', i.created_at, $5
FROM gone JOIN unnest($1::uuid[], $6::text[], $7::text[], $8::timestamptz[])
    AS i(id, type, handler, created_at) USING (id)
RETURNING message_id
"""


async def cancel_ready(
    conn: Connection,
    source: str,
    consumer: str,
    lane: Lane,
    shop: str,
    ends: Sequence[Pointless],
    why: Attempt,
) -> set[UUID]:
    """Ends those of these messages of a shop that still wait in the outbox; history says why. Returns their ids."""
    statement = bind(CANCEL_READY, source=source, consumer=consumer)
    rows = await conn.fetch(statement, *_columns(source, shop, ends, why), consumer, lane.value)
    return {row["message_id"] for row in rows}


async def cancel_scheduled(
    conn: Connection, source: str, consumer: str, shop: str, ends: Sequence[Pointless], why: Attempt
) -> set[UUID]:
    """`cancel_ready` for those that wait for their time."""
    rows = await conn.fetch(bind(CANCEL_SCHEDULED, consumer=consumer), *_columns(source, shop, ends, why))
    return {row["message_id"] for row in rows}


def _columns(source: str, shop: str, ends: Sequence[Pointless], why: Attempt) -> tuple[object, ...]:
    return (
        [end.id for end in ends], source, shop, why.entry(), why.started_at,
        [end.type for end in ends], [end.handler for end in ends], [made_at(end.id) for end in ends],
    )  # fmt: skip


def _waiting(rows: Sequence[asyncpg.Record]) -> list[Waiting]:
    return [Waiting(**{**row, "lane": Lane(row["lane"])}) for row in rows]
