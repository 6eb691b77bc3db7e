"""SQL that ends a message's stay in the outbox: done, later, or failed; and its return by replay.

Each is one statement, so each move is one transaction even outside a handler's own. Where the DELETE finds no row,
nothing else happens: someone was faster, or it is a duplicate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.ids import made_at
from libs.common.outbox.names import bind

_LOGGED_ATTEMPTS = 100  # a message asked to come later for ever keeps the newest of its attempts


@dataclass(frozen=True, slots=True)
class Ending:
    """What history says of a message besides what its row says."""

    message: Message
    lane: Lane
    outcome: str
    handler: str | None
    route: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that did not end the message."""

    started_at: datetime
    finished_at: datetime
    error: str
    route: str

    def entry(self) -> str:
        return orjson.dumps(
            [
                {
                    "started_at": self.started_at,
                    "finished_at": self.finished_at,
                    "error": self.error,
                    "route": self.route,
                }
            ]
        ).decode()


END_ONE = """
WITH gone AS (
    DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = $3 RETURNING id, attempt, log
)
INSERT INTO CONSUMER.history
    (message_id, attempts, log, lane, source, type, shop, outcome, handler, route, created_at, started_at)
SELECT id, attempt + 1, log, $2, $4, $5, $6, $7, $8, $9, $10, $11 FROM gone
RETURNING message_id
"""


async def end_one(conn: Connection, consumer: str, ending: Ending) -> bool:
    """Deletes the row and writes its history; False if there was no row."""
    message = ending.message
    row = await conn.fetchval(
        bind(END_ONE, source=message.source, consumer=consumer), consumer, ending.lane.value, message.id,
        message.source, message.type, message.shop, ending.outcome, ending.handler, ending.route, made_at(message.id),
        ending.started_at,
    )  # fmt: skip
    return row is not None


# Locked in the order of their ids, so that two consumers with overlapping batches do not deadlock. What history says of
# each comes as one JSON: asyncpg takes several times as long over arrays, one value after the other.
END_MANY = """
WITH live AS (
    SELECT lane, id FROM SOURCE.outbox
    WHERE destination = $1 AND lane = $2 AND id = ANY ($3::uuid[]) ORDER BY id FOR UPDATE
), gone AS (
    DELETE FROM SOURCE.outbox
    WHERE destination = $1 AND lane = $2 AND id = ANY (ARRAY(SELECT id FROM live))
    RETURNING id, attempt, log
)
INSERT INTO CONSUMER.history
    (message_id, attempts, log, lane, source, type, shop, outcome, handler, route, created_at, started_at)
SELECT gone.id, gone.attempt + 1, gone.log, $2, $4, i.type, i.shop, i.outcome, i.handler, i.route, i.created_at,
       i.started_at
FROM gone JOIN json_to_recordset($5::json) AS i(
    id uuid, type text, shop text, outcome text, handler text, route text, created_at timestamptz,
    started_at timestamptz) USING (id)
RETURNING message_id
"""


async def end_many(conn: Connection, consumer: str, endings: Sequence[Ending]) -> set[UUID]:
    """`end_one` for messages of one source and lane together; returns the ids whose rows were there."""
    first = endings[0]
    rows = await conn.fetch(
        bind(END_MANY, source=first.message.source, consumer=consumer), consumer, first.lane.value,
        [ending.message.id for ending in endings], first.message.source,
        orjson.dumps([_said(ending) for ending in endings]).decode(),
    )  # fmt: skip
    return {row["message_id"] for row in rows}


def _said(ending: Ending) -> dict[str, object]:
    message = ending.message
    return {
        "id": message.id.hex, "type": message.type, "shop": message.shop, "outcome": ending.outcome,
        "handler": ending.handler, "route": ending.route, "created_at": made_at(message.id),
        "started_at": ending.started_at,
    }  # fmt: skip


# A copy that was on its way while its message was tried and came back knows an older attempt. It may still end the
# message, but its failure says nothing about the attempt that the row is at: it moves nothing.
SCHEDULE = """
WITH gone AS (
    DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = $3 AND attempt = $10
    RETURNING id, attempt, log
)
INSERT INTO CONSUMER.scheduled (source, message_id, lane, due_at, reason, attempt, log)
SELECT $4, id, $2, now() + $5::interval, $6, least(attempt + $7, 30000),
       CASE WHEN $8::jsonb IS NULL THEN log
            WHEN jsonb_array_length(log) >= $9 THEN (log - 0) || $8::jsonb
            ELSE coalesce(log, '[]') || $8::jsonb END
FROM gone
RETURNING message_id
"""


async def schedule(
    conn: Connection,
    consumer: str,
    message: Message,
    lane: Lane,
    *,
    delay_seconds: float,
    reason: str,
    attempt: Attempt | None,
    counted: bool,
) -> bool:
    """Moves the row to `scheduled`; False if it was gone, or is at another attempt.

    `counted` says whether one of its retries is used up.
    """
    row = await conn.fetchval(
        bind(SCHEDULE, source=message.source, consumer=consumer), consumer, lane.value, message.id, message.source,
        timedelta(seconds=delay_seconds), reason, int(counted), attempt and attempt.entry(), _LOGGED_ATTEMPTS,
        message.attempt - 1,
    )  # fmt: skip
    return row is not None


FAIL = """
WITH gone AS (
    DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = $3 AND attempt = $11
    RETURNING id, attempt, log
)
INSERT INTO CONSUMER.failed (source, message_id, type, shop, lane, reason, error, attempts, log, created_at)
SELECT $4, id, $5, $6, $2, $7, $8, attempt + 1, coalesce(log, '[]') || $9::jsonb, $10 FROM gone
RETURNING message_id
"""


async def fail(
    conn: Connection,
    consumer: str,
    message: Message,
    lane: Lane,
    *,
    reason: str,
    attempt: Attempt,
) -> bool:
    """Moves the row to `failed`, to wait for a replay; False if it was gone, or is at another attempt."""
    row = await conn.fetchval(
        bind(FAIL, source=message.source, consumer=consumer), consumer, lane.value, message.id, message.source,
        message.type, message.shop, reason, attempt.error, attempt.entry(), made_at(message.id),
        message.attempt - 1,
    )  # fmt: skip
    return row is not None


CANCEL = """
WITH gone AS (
    DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = $3 RETURNING id, attempt, log
)
INSERT INTO CONSUMER.history
    (message_id, attempts, log, lane, source, type, shop, outcome, handler, route, created_at, started_at)
SELECT id, attempt + 1, coalesce(log, '[]') || $12::jsonb, $2, $4, $5, $6, $7, $8, $9, $10, $11 FROM gone
RETURNING message_id
"""


async def cancel(conn: Connection, consumer: str, ending: Ending, attempt: Attempt) -> bool:
    """Deletes the row; its history says why the work had lost its point. False if there was no row."""
    message = ending.message
    row = await conn.fetchval(
        bind(CANCEL, source=message.source, consumer=consumer), consumer, ending.lane.value, message.id,
        message.source, message.type, message.shop, ending.outcome, ending.handler, ending.route, made_at(message.id),
        ending.started_at, attempt.entry(),
    )  # fmt: skip
    return row is not None


REPLAY_FAILED = """
WITH back AS (DELETE FROM CONSUMER.failed WHERE source = $1 AND message_id = $2 RETURNING message_id, lane, log)
INSERT INTO SOURCE.outbox (destination, lane, id, log) SELECT $3, lane, message_id, log FROM back RETURNING lane
"""

REPLAY_DONE = """
WITH back AS (
    DELETE FROM CONSUMER.history WHERE source = $1 AND message_id = $2
    RETURNING message_id, lane, log, started_at, finished_at, outcome, route
)
INSERT INTO SOURCE.outbox (destination, lane, id, log)
SELECT $3, lane, message_id,
       CASE WHEN outcome = 'cancelled' THEN log  -- which ends with that attempt
            ELSE coalesce(log, '[]') || jsonb_build_object('started_at', started_at, 'finished_at', finished_at,
                                                           'error', NULL, 'route', route, 'outcome', outcome) END
FROM back RETURNING lane
"""

RUSH = """
WITH back AS (
    DELETE FROM CONSUMER.scheduled WHERE source = $1 AND message_id = $2 RETURNING message_id, lane, attempt, log
)
INSERT INTO SOURCE.outbox (destination, lane, id, attempt, log)
SELECT $3, lane, message_id, attempt, log FROM back RETURNING lane
"""


async def replay(conn: Connection, source: str, consumer: str, message_id: UUID) -> Lane | None:
    """Puts a failed, ended or waiting message back into its outbox; its lane, or None if there was none."""
    for statement in (REPLAY_FAILED, REPLAY_DONE, RUSH):
        lane = await conn.fetchval(
            bind(statement, source=source, consumer=consumer), source, message_id, consumer
        )
        if lane is not None:
            return Lane(lane)
    return None
