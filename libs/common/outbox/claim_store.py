"""SQL by which a consumer takes work in hand, keeps it, and gives it back."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.outbox.names import bind

FIRST_ID = UUID(int=0)
_LANES = {lane.value: lane for lane in Lane}  # an enum's own look-up takes five times as long


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row in hand, with its message and what is known of earlier holders."""

    message: Message
    lane: Lane
    deliveries: int
    suspicions: int


# The ids are fetched into an array first: whatever the planner believes of the table's size, the update and the
# payloads are then index look-ups. Broker leases may be taken $7 before their end by a consumer that is cut off
# from RabbitMQ; $7 is zero for all others.
CLAIM = """
WITH leased AS (
    UPDATE SOURCE.outbox
    SET holder = $5, leased_until = now() + $6::interval, deliveries = least(deliveries + 1, 1000)
    WHERE destination = $1 AND lane = $2 AND id = ANY (ARRAY(
        SELECT id FROM SOURCE.outbox
        WHERE destination = $1 AND lane = $2 AND id > $3
          AND (leased_until IS NULL
               OR leased_until < now() + CASE WHEN holder LIKE 'broker:%' THEN $7::interval ELSE '0' END)
        ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED))
    RETURNING id, lane, deliveries, suspicions, attempt
)
SELECT l.lane, l.deliveries, l.suspicions, l.attempt, m.id, m.type, m.shop, m.time, m.subject, m.dataschema,
       m.content_type, m.traceparent, m.correlation_id, m.body
FROM leased AS l CROSS JOIN LATERAL (SELECT * FROM SOURCE.messages WHERE id = l.id OFFSET 0) AS m
ORDER BY m.id
"""


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """Who claims, and how much of it."""

    consumer: str
    holder: str
    lease_seconds: float
    early_seconds: float = 0.0  # how long before their end broker leases may be taken


def _claimed(source: str, row: asyncpg.Record) -> Claimed:
    message = Message(
        id=row["id"], type=row["type"], source=source, shop=row["shop"], time=row["time"], body=row["body"],
        subject=row["subject"], dataschema=row["dataschema"], content_type=row["content_type"],
        traceparent=row["traceparent"], correlation_id=row["correlation_id"], attempt=row["attempt"] + 1,
    )  # fmt: skip
    return Claimed(message, _LANES[row["lane"]], row["deliveries"], row["suspicions"])


async def claim(
    conn: Connection, source: str, plan: ClaimPlan, *, lane: Lane, after: UUID, limit: int
) -> list[Claimed]:
    """Leases up to `limit` claimable rows with ids above `after`, oldest first."""
    rows = await conn.fetch(
        bind(CLAIM, source=source), plan.consumer, lane.value, after, limit, plan.holder,
        timedelta(seconds=plan.lease_seconds), timedelta(seconds=plan.early_seconds),
    )  # fmt: skip
    return [_claimed(source, row) for row in rows]


# In the order of the primary key: otherwise a lane without rows is looked for in all of the table.
OCCUPIED = """
SELECT l.lane FROM unnest($2::text[]) AS l(lane) CROSS JOIN LATERAL (
    SELECT id FROM SOURCE.outbox WHERE destination = $1 AND lane = l.lane ORDER BY id LIMIT 1) AS first
"""


async def occupied(conn: Connection, source: str, consumer: str, lanes: Sequence[Lane]) -> set[Lane]:
    """The lanes that hold any row for a consumer, leased ones included."""
    return {
        _LANES[row["lane"]] for row in await conn.fetch(bind(OCCUPIED, source=source), consumer, list(lanes))
    }


# What is due returns to the outbox under the mover's own lease: its id lies far behind where claims look.
MOVE_DUE = """
WITH due AS (
    DELETE FROM CONSUMER.scheduled
    WHERE source = $1 AND message_id = ANY (ARRAY(
        SELECT message_id FROM CONSUMER.scheduled WHERE source = $1 AND due_at <= now() AND lane = ANY ($6::text[])
        ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING message_id, lane, attempt, log
), moved AS (
    INSERT INTO SOURCE.outbox (destination, lane, id, holder, leased_until, deliveries, attempt, log)
    SELECT $3, lane, message_id, $4, now() + $5::interval, 1, attempt, log FROM due
    RETURNING id, lane, deliveries, suspicions, attempt
)
SELECT l.lane, l.deliveries, l.suspicions, l.attempt, m.id, m.type, m.shop, m.time, m.subject, m.dataschema,
       m.content_type, m.traceparent, m.correlation_id, m.body
FROM moved AS l CROSS JOIN LATERAL (SELECT * FROM SOURCE.messages WHERE id = l.id OFFSET 0) AS m
"""


async def move_due(
    conn: Connection, source: str, plan: ClaimPlan, lanes: Sequence[Lane], limit: int
) -> list[Claimed]:
    """Moves retries and delayed messages of these lanes whose time has come into the outbox, and takes them in hand."""
    rows = await conn.fetch(
        bind(MOVE_DUE, source=source, consumer=plan.consumer), source, limit, plan.consumer, plan.holder,
        timedelta(seconds=plan.lease_seconds), list(lanes),
    )  # fmt: skip
    return [_claimed(source, row) for row in rows]


NEXT_DUE = """
SELECT extract(epoch FROM min(first.due_at) - now())::float8
FROM unnest($1::text[]) AS s(source) CROSS JOIN LATERAL (
    SELECT due_at FROM CONSUMER.scheduled WHERE source = s.source AND lane = ANY ($2::text[])
    ORDER BY due_at LIMIT 1) AS first
"""


async def next_due(
    conn: Connection, consumer: str, sources: Sequence[str], lanes: Sequence[Lane]
) -> float | None:
    """Seconds until the next scheduled message is due; negative if it is overdue, None if there is none."""
    seconds: float | None = await conn.fetchval(bind(NEXT_DUE, consumer=consumer), list(sources), list(lanes))
    return seconds


# Only rows nobody else holds by now: a lease that was lost and taken by another consumer stays with that one.
# A row that its own handler is deleting is locked and needs no lease any more.
RENEW = """
UPDATE SOURCE.outbox SET holder = $4, leased_until = now() + $5::interval
WHERE destination = $1 AND lane = $2 AND id = ANY (ARRAY(
    SELECT id FROM SOURCE.outbox
    WHERE destination = $1 AND lane = $2 AND id = ANY ($3::uuid[])
      AND (holder = $4 OR holder IS NULL OR holder LIKE 'broker:%' OR leased_until < now())
    ORDER BY id FOR UPDATE SKIP LOCKED))
"""


async def renew(conn: Connection, source: str, plan: ClaimPlan, lane: Lane, ids: Sequence[UUID]) -> None:
    """Extends the leases of rows in hand, or takes over those that the broker route had."""
    await conn.execute(
        bind(RENEW, source=source), plan.consumer, lane.value, list(ids), plan.holder,
        timedelta(seconds=plan.lease_seconds),
    )  # fmt: skip


GIVE_BACK = """
UPDATE SOURCE.outbox
SET holder = NULL, leased_until = NULL,
    deliveries = CASE WHEN holder = $4 AND $5 THEN greatest(deliveries - 1, 0) ELSE deliveries END,
    suspicions = CASE WHEN holder = $4 AND $5 THEN 0 ELSE suspicions END
WHERE destination = $1 AND lane = $2 AND id = ANY (ARRAY(
    SELECT id FROM SOURCE.outbox
    WHERE destination = $1 AND lane = $2 AND id = ANY ($3::uuid[]) AND (holder = $4 OR holder LIKE 'broker:%')
    ORDER BY id FOR UPDATE SKIP LOCKED))
"""


async def give_back(
    conn: Connection, source: str, plan: ClaimPlan, lane: Lane, ids: Sequence[UUID], *, unharmed: bool
) -> None:
    """Makes rows claimable at once.

    `unharmed`: nothing happened while they were in hand, so it is as if they had never been. Where work on them was
    broken off, it stays counted: a message that makes Postgres break off each time is found out by it.
    """
    await conn.execute(
        bind(GIVE_BACK, source=source), plan.consumer, lane.value, list(ids), plan.holder, unharmed
    )


TAKE_OVER = """
UPDATE SOURCE.outbox
SET holder = $4, leased_until = now() + $5::interval, deliveries = least(deliveries + $6::int, 1000)
WHERE destination = $1 AND lane = $2 AND id = ANY (ARRAY(
    SELECT id FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = ANY ($3::uuid[])
      AND (holder = $4 OR holder IS NULL OR holder LIKE 'broker:%' OR leased_until < now())
    ORDER BY id FOR UPDATE SKIP LOCKED))
RETURNING id, deliveries, suspicions, attempt
"""


async def take_over(
    conn: Connection, source: str, plan: ClaimPlan, lane: Lane, ids: Sequence[UUID], *, counted: bool
) -> dict[UUID, tuple[int, int, int]]:
    """Leases those rows that nobody holds; `counted` where RabbitMQ brought them again, perhaps after a crash.

    Returns (deliveries, suspicions, attempt) for each row that is this consumer's now. The others are done, or in
    somebody else's hands: their copies can be dropped.
    """
    rows = await conn.fetch(
        bind(TAKE_OVER, source=source), plan.consumer, lane.value, list(ids), plan.holder,
        timedelta(seconds=plan.lease_seconds), int(counted),
    )  # fmt: skip
    return {row["id"]: (row["deliveries"], row["suspicions"], row["attempt"]) for row in rows}


WRITABLE = "SELECT current_setting('transaction_read_only') = 'off'"


async def writable(conn: Connection) -> bool:
    """Whether this server takes writes; one that was demoted to a standby answers but does not."""
    return bool(await conn.fetchval(WRITABLE))


ROOM = """
CREATE TEMPORARY TABLE shopbus_room ON COMMIT DROP AS
SELECT number, repeat('room', 200) AS filler FROM generate_series(1, 1200) AS number
"""


async def find_room(conn: Connection) -> None:
    """Writes a megabyte and drops it again; raises `DiskFullError` where there is no room for it.

    Small writes find room in pages that are there already, so they do not tell. Without the privilege to make temporary
    tables nothing is tried.
    """
    with suppress(asyncpg.InsufficientPrivilegeError):
        await conn.fetch(ROOM)


SUSPECT = """
UPDATE SOURCE.outbox
SET suspicions = suspicions + 1, holder = $4, leased_until = now() + $5::interval
WHERE destination = $1 AND lane = $2 AND id = $3
RETURNING suspicions
"""


async def suspect(conn: Connection, source: str, plan: ClaimPlan, lane: Lane, message_id: UUID) -> int | None:
    """Notes, before a suspicious message is started alone, that it is; None if its row is gone."""
    count: int | None = await conn.fetchval(
        bind(SUSPECT, source=source), plan.consumer, lane.value, message_id, plan.holder,
        timedelta(seconds=plan.lease_seconds),
    )  # fmt: skip
    return count
