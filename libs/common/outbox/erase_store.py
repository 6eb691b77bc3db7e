"""SQL that finds messages about a person or of a shop, and takes them out of every place that they stand in.

A person's message keeps its row, without its payload: that it was there can still be told, and a second delivery of it
is still known. What of it waited ends as cancelled. A shop's messages go altogether.
The row in the outbox goes first: a handler that has the message in hand has then either committed, or finds no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.contracts.privacy import DRAINED, ERASED
from libs.common.contracts.topology import CONSUMERS, EXTERNAL
from libs.common.db import Connection
from libs.common.outbox.end_store import Attempt
from libs.common.outbox.look_store import LANES
from libs.common.outbox.names import bind

LOCK_SECONDS = 120.0
"""How long a statement here may take: it waits for handlers that are about to commit."""

_OUTSIDE = [external.name for external in EXTERNAL]

WINDOW = "SELECT id FROM SOURCE.messages WHERE id > $1 ORDER BY id OFFSET $2 LIMIT 1"


async def window(conn: Connection, source: str, after: UUID, size: int) -> UUID | None:
    """The id of the message `size` places further; None where there are not that many."""
    last: UUID | None = await conn.fetchval(bind(WINDOW, source=source), after, size - 1)
    return last


# encode() makes text of any bytes, so that a payload in a broken encoding is searched too. Deflated ones are not text.
SEARCH = """
SELECT id, type, time, created_at, body FROM SOURCE.messages
WHERE id > $1 AND id <= $2 AND shop = $3 AND (type = ANY ($5) OR encode(body, 'escape') ~* ANY ($4::text[]))
ORDER BY id
"""


async def search(
    conn: Connection, source: str, shop: str, patterns: Sequence[str], *, after: UUID, last: UUID
) -> list[asyncpg.Record]:
    """A shop's messages among these ids whose payload fits one of the patterns, or cannot be searched by one."""
    return await conn.fetch(
        bind(SEARCH, source=source), after, last, shop, list(patterns), list(DRAINED), timeout=LOCK_SECONDS
    )


OF_SHOP = """
SELECT id, type FROM SOURCE.messages WHERE id > $1 AND id <= $2 AND shop = $3 AND time <= $4 ORDER BY id
"""


async def of_shop(
    conn: Connection, source: str, shop: str, before: datetime, *, after: UUID, last: UUID
) -> list[asyncpg.Record]:
    """A shop's messages among these ids that were triggered by a moment."""
    return await conn.fetch(bind(OF_SHOP, source=source), after, last, shop, before, timeout=LOCK_SECONDS)


WAITING = """
SELECT id FROM unnest($1::uuid[]) AS w(id)
WHERE EXISTS (SELECT FROM SOURCE.outbox WHERE destination = $2 AND lane = ANY ($3) AND id = w.id OFFSET 0)
   OR EXISTS (SELECT FROM CONSUMER.scheduled WHERE source = $4 AND message_id = w.id OFFSET 0)
"""


async def waiting(conn: Connection, source: str, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these messages some consumer still has to work on."""
    found: set[UUID] = set()
    for consumer in CONSUMERS:
        statement = bind(WAITING, source=source, consumer=consumer)
        found |= {row["id"] for row in await conn.fetch(statement, list(ids), consumer, LANES, source)}
    return found


PAYLOADS = """
SELECT id, type, shop, time, subject, body FROM SOURCE.messages WHERE id = ANY ($1::uuid[]) ORDER BY id
"""


async def payloads(conn: Connection, source: str, ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """These messages as they were accepted."""
    return await conn.fetch(bind(PAYLOADS, source=source), list(ids), timeout=LOCK_SECONDS)


_READY = """
WITH live AS (
    SELECT lane, id FROM SOURCE.outbox
    WHERE destination = $4 AND lane = ANY ($5) AND id = ANY ($3::uuid[]) ORDER BY id FOR UPDATE
), gone AS (
    DELETE FROM SOURCE.outbox
    WHERE destination = $4 AND lane = ANY ($5) AND id = ANY (ARRAY(SELECT id FROM live))
    RETURNING id, lane, attempt
)
"""
_SCHEDULED = """
WITH gone AS (
    DELETE FROM CONSUMER.scheduled WHERE source = $1 AND message_id = ANY ($3::uuid[])
    RETURNING message_id AS id, lane, attempt
)
"""
_FAILED = """
WITH gone AS (
    DELETE FROM CONSUMER.failed WHERE source = $1 AND message_id = ANY ($3::uuid[])
    RETURNING message_id AS id, lane, attempts - 1 AS attempt
)
"""
_CANCELLED = """
INSERT INTO CONSUMER.history
    (message_id, source, type, shop, lane, outcome, attempts, log, route, created_at, started_at)
SELECT gone.id, $1, m.type, m.shop, gone.lane, 'cancelled', gone.attempt + 1, $2::jsonb, 'postgres', m.created_at,
       clock_timestamp()
FROM gone CROSS JOIN LATERAL (SELECT type, shop, created_at FROM SOURCE.messages WHERE id = gone.id OFFSET 0) AS m
"""
CANCEL_READY = _READY + _CANCELLED
CANCEL_SCHEDULED = _SCHEDULED + _CANCELLED
CANCEL_FAILED = _FAILED + _CANCELLED
FORGET_TRIES = """
UPDATE CONSUMER.history SET log = NULL
WHERE source = $1 AND message_id = ANY ($2::uuid[]) AND log IS NOT NULL AND outcome <> 'cancelled'
"""
RELEASE_OUTSIDE = """
DELETE FROM SOURCE.outbox WHERE destination = ANY ($1) AND lane = ANY ($2) AND id = ANY ($3::uuid[])
"""
# The headers that stay are those that the deliveries log takes the topic from. A key that is not Shopify's own may
# say anything.
EMPTY = """
UPDATE SOURCE.messages AS m
SET body = $2, subject = NULL, key = CASE WHEN type LIKE 'webhook.%' THEN key END,
    headers = (SELECT jsonb_object_agg(h.key, h.value) FROM jsonb_each(m.headers) AS h
               WHERE h.key IN ('shopify-topic', 'x-shopify-topic'))
WHERE id = ANY ($1::uuid[]) AND body <> $2
"""


@dataclass(frozen=True, slots=True)
class Trail:
    """What is said of a message in the places where it waited."""

    at: datetime
    why: str

    def log(self) -> str:
        return Attempt(self.at, self.at, self.why, "postgres").entry()


async def empty(conn: Connection, source: str, ids: Sequence[UUID], trail: Trail) -> dict[str, int]:
    """Takes payloads, errors and waiting work of these messages away; returns how many rows, by table."""
    rows: dict[str, int] = {}
    outside = await conn.execute(
        bind(RELEASE_OUTSIDE, source=source), _OUTSIDE, LANES, list(ids), timeout=LOCK_SECONDS
    )
    _count(rows, f"{source}.outbox", outside)
    for consumer in CONSUMERS:
        places = (
            (f"{source}.outbox", CANCEL_READY, (consumer, LANES)),
            (f"{consumer}.scheduled", CANCEL_SCHEDULED, ()),
            (f"{consumer}.failed", CANCEL_FAILED, ()),
        )
        for place, statement, where in places:
            done = await conn.execute(
                bind(statement, source=source, consumer=consumer), source, trail.log(), list(ids), *where,
                timeout=LOCK_SECONDS,
            )  # fmt: skip
            _count(rows, place, done)
        forgotten = await conn.execute(bind(FORGET_TRIES, consumer=consumer), source, list(ids))
        _count(rows, f"{consumer}.history", forgotten)
    _count(rows, f"{source}.messages", await empty_payloads(conn, source, ids))
    return rows


async def empty_payloads(conn: Connection, source: str, ids: Sequence[UUID]) -> str:
    """Takes the payloads of messages away that wait for nothing."""
    done: str = await conn.execute(bind(EMPTY, source=source), list(ids), ERASED)
    return done


DELETE_READY = """
WITH live AS (
    SELECT destination, lane, id FROM SOURCE.outbox
    WHERE destination = ANY ($1) AND lane = ANY ($2) AND id = ANY ($3::uuid[]) ORDER BY id FOR UPDATE
)
DELETE FROM SOURCE.outbox
WHERE destination = ANY ($1) AND lane = ANY ($2) AND id = ANY (ARRAY(SELECT id FROM live))
"""
DELETE_SCHEDULED = "DELETE FROM CONSUMER.scheduled WHERE source = $1 AND message_id = ANY ($2::uuid[])"
DELETE_FAILED = "DELETE FROM CONSUMER.failed WHERE source = $1 AND message_id = ANY ($2::uuid[])"
DELETE_HISTORY = "DELETE FROM CONSUMER.history WHERE source = $1 AND message_id = ANY ($2::uuid[])"
DELETE_MESSAGES = "DELETE FROM SOURCE.messages WHERE id = ANY ($1::uuid[])"


async def delete(conn: Connection, source: str, ids: Sequence[UUID]) -> dict[str, int]:
    """Deletes messages with everything that refers to them; returns how many rows, by table."""
    rows: dict[str, int] = {}
    ready = await conn.execute(
        bind(DELETE_READY, source=source), [*CONSUMERS, *_OUTSIDE], LANES, list(ids), timeout=LOCK_SECONDS
    )
    _count(rows, f"{source}.outbox", ready)
    for consumer in CONSUMERS:
        for table, statement in (
            ("scheduled", DELETE_SCHEDULED),
            ("failed", DELETE_FAILED),
            ("history", DELETE_HISTORY),
        ):
            _count(
                rows,
                f"{consumer}.{table}",
                await conn.execute(bind(statement, consumer=consumer), source, list(ids)),
            )
    _count(rows, f"{source}.messages", await conn.execute(bind(DELETE_MESSAGES, source=source), list(ids)))
    return rows


EMPTY_BY_KEY = "UPDATE SOURCE.messages SET body = $2 WHERE key = ANY ($1) AND shop = ''"


async def empty_by_key(conn: Connection, source: str, keys: Sequence[str]) -> None:
    """Takes the payloads of messages away that belong to no shop and were accepted under these keys."""
    await conn.execute(bind(EMPTY_BY_KEY, source=source), list(keys), ERASED)


PROGRESS = """
INSERT INTO SOURCE.privacy_progress AS p (case_id, place, erased) SELECT $1, * FROM unnest($2::text[], $3::bigint[])
ON CONFLICT (case_id, place) DO UPDATE SET erased = p.erased + excluded.erased
"""


async def note_progress(conn: Connection, source: str, case: UUID, rows: dict[str, int]) -> None:
    """Counts what this transaction erases."""
    await conn.execute(bind(PROGRESS, source=source), case, list(rows), list(rows.values()))


TAKE_PROGRESS = "DELETE FROM SOURCE.privacy_progress WHERE case_id = $1 RETURNING place, erased"


async def take_progress(conn: Connection, source: str, case: UUID) -> dict[str, int]:
    """What all transactions of a case have erased, which is not counted here any more."""
    rows = await conn.fetch(bind(TAKE_PROGRESS, source=source), case)
    return {row["place"]: row["erased"] for row in sorted(rows, key=lambda row: str(row["place"]))}


BURY = """
INSERT INTO SOURCE.privacy_tombstones (mark, shop_mark, before, expires_at)
SELECT mark, $2, $3, now() + make_interval(days => $4) FROM unnest($1::bytea[]) AS m(mark)
ON CONFLICT (mark) DO UPDATE SET before = greatest(privacy_tombstones.before, excluded.before),
                                 expires_at = greatest(privacy_tombstones.expires_at, excluded.expires_at)
"""
FORGET_TOMBSTONES = "DELETE FROM SOURCE.privacy_tombstones WHERE expires_at < now()"


async def bury(
    conn: Connection, source: str, marks: Sequence[bytes], shop_mark: bytes, before: datetime, days: int
) -> None:
    """From now on nobody who carries one of these marks comes back by what was triggered earlier."""
    await conn.execute(bind(FORGET_TOMBSTONES, source=source))
    await conn.execute(bind(BURY, source=source), list(marks), shop_mark, before, days)


TOMBSTONES = "SELECT mark, shop_mark, before FROM SOURCE.privacy_tombstones WHERE expires_at > now()"


async def tombstones(conn: Connection, source: str) -> list[asyncpg.Record]:
    """Everybody who was erased and must not come back."""
    return await conn.fetch(bind(TOMBSTONES, source=source))


# Whoever buries somebody waits for the end of this transaction; and after that, it is seen here.
TOMBSTONES_OF = TOMBSTONES + " AND shop_mark = ANY ($1)"
HOLD_TOMBSTONES = "LOCK TABLE SOURCE.privacy_tombstones IN SHARE MODE"


async def tombstones_held(conn: Connection, source: str, shops: Sequence[bytes]) -> list[asyncpg.Record]:
    """The same of these shops, by their marks, and nobody is buried before the transaction has ended."""
    await conn.execute(bind(HOLD_TOMBSTONES, source=source))
    return await conn.fetch(bind(TOMBSTONES_OF, source=source), list(shops))


def _count(rows: dict[str, int], place: str, status: str) -> None:
    """Adds the number in a status such as `DELETE 3`."""
    if number := int(status.rpartition(" ")[2]):
        rows[place] = rows.get(place, 0) + number
