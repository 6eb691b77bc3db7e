"""SQL that accepts messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.outbox.names import bind


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A draft with its id, where it goes, and whether RabbitMQ is to bring it there."""

    id: UUID
    draft: Draft
    lane: Lane
    destinations: tuple[str, ...]
    leased: bool
    time: datetime
    external: tuple[str, ...] = ()


# Rows are inserted in the order of their keys, so that two batches with the same two webhooks wait for each other
# once instead of deadlocking. A row that lost the race for its key gets no outbox row: it is not in `stored`.
# All but the bodies comes as one JSON: asyncpg takes twice as long over arrays, one value after the other.
PUT = """
WITH input AS (
    SELECT * FROM ROWS FROM (
        json_to_recordset($1::json) AS (
            id uuid, type text, shop text, key text, time timestamptz, subject text, dataschema text, content_type text,
            traceparent text, correlation_id text, headers jsonb
        ),
        unnest($2::bytea[])
    ) AS i(id, type, shop, key, time, subject, dataschema, content_type, traceparent, correlation_id, headers, body)
), stored AS (
    INSERT INTO SOURCE.messages
        (id, type, shop, key, time, subject, dataschema, content_type, traceparent, correlation_id, headers, body)
    SELECT id, type, shop, key, time, subject, dataschema, content_type, traceparent, correlation_id, headers, body
    FROM input ORDER BY key, shop
    ON CONFLICT (key, shop) WHERE key IS NOT NULL DO NOTHING
    RETURNING id
), ready AS (
    INSERT INTO SOURCE.outbox (destination, lane, id, holder, leased_until)
    SELECT r.destination, r.lane, r.id,
           CASE WHEN r.leased THEN $4::text END,
           CASE WHEN r.leased THEN now() + $5::interval
                WHEN r.delay > 0 THEN now() + make_interval(secs => r.delay) END
    FROM json_to_recordset($3::json) AS r(id uuid, destination text, lane text, leased bool, delay float8)
    JOIN stored USING (id)
)
SELECT id FROM stored
"""


async def put(
    conn: Connection, source: str, batch: Sequence[Outgoing], *, holder: str, lease_seconds: float
) -> set[UUID]:
    """Stores the messages and the rows that are ready now; returns the ids that were not duplicates."""
    stored = await conn.fetch(
        bind(PUT, source=source),
        orjson.dumps([_message(out) for out in batch]).decode(),
        [out.draft.body for out in batch],
        orjson.dumps([row for out in batch for row in _rows(out)]).decode(),
        holder,
        timedelta(seconds=lease_seconds),
    )
    return {row["id"] for row in stored}


def _message(out: Outgoing) -> dict[str, object]:
    draft = out.draft
    return {
        "id": out.id.hex,
        "type": draft.type,
        "shop": draft.shop,
        "key": draft.key,
        "time": out.time,
        "subject": draft.subject,
        "dataschema": draft.dataschema,
        "content_type": draft.content_type,
        "traceparent": draft.traceparent,
        "correlation_id": draft.correlation_id,
        "headers": None if draft.headers is None else dict(draft.headers),
    }


def _rows(out: Outgoing) -> list[dict[str, object]]:
    """The outbox rows: none for our own consumers where the message waits in `scheduled` first."""
    draft, row = out.draft, {"id": out.id.hex, "lane": out.lane.value}
    ready = () if draft.delay else out.destinations
    return [
        *({**row, "destination": name, "leased": out.leased, "delay": 0} for name in ready),
        *({**row, "destination": name, "leased": False, "delay": draft.delay} for name in out.external),
    ]


DELAY = """
INSERT INTO CONSUMER.scheduled (source, message_id, lane, due_at, reason) VALUES ($1, $2, $3, now() + $4, 'delay')
"""


async def delay(conn: Connection, source: str, out: Outgoing) -> None:
    """Puts a message that was stored just now where it waits for its time, for each of its destinations."""
    for consumer in out.destinations:
        await conn.execute(
            bind(DELAY, consumer=consumer), source, out.id, out.lane.value, timedelta(seconds=out.draft.delay)
        )


END_EXTERNAL = "DELETE FROM SOURCE.outbox WHERE destination = $1 AND lane = $2 AND id = ANY ($3::uuid[])"


async def end_external(
    conn: Connection, source: str, destination: str, lane: Lane, ids: Sequence[UUID]
) -> None:
    """RabbitMQ has confirmed these for a program outside: their rows have done their work."""
    await conn.execute(bind(END_EXTERNAL, source=source), destination, lane.value, list(ids))


KNOWN = """
SELECT m.key, m.shop, m.id FROM unnest($1::text[], $2::text[]) AS i(key, shop)
CROSS JOIN LATERAL (SELECT key, shop, id FROM SOURCE.messages WHERE key = i.key AND shop = i.shop OFFSET 0) AS m
"""


async def known(conn: Connection, source: str, drafts: Sequence[Draft]) -> dict[tuple[str | None, str], UUID]:
    """The ids under which drafts with these keys were accepted, by (key, shop)."""
    rows = await conn.fetch(
        bind(KNOWN, source=source), [draft.key for draft in drafts], [draft.shop for draft in drafts]
    )
    return {(row["key"], row["shop"]): row["id"] for row in rows}


COUNT_DUPLICATES = """
INSERT INTO SOURCE.duplicates AS d (counter, total) VALUES ($1, $2)
ON CONFLICT (counter) DO UPDATE SET total = d.total + excluded.total
"""


async def count_duplicates(conn: Connection, source: str, counter: str, number: int) -> None:
    """Adds to the duplicates this producer has seen; they leave no other trace."""
    await conn.execute(bind(COUNT_DUPLICATES, source=source), counter, number)


# Rows that a consumer is deleting right now are locked by it and need no freeing.
FREE = """
UPDATE SOURCE.outbox AS o SET holder = NULL, leased_until = NULL
FROM (
    SELECT destination, lane, id FROM SOURCE.outbox
    WHERE destination = $2 AND lane = $3 AND id >= $4 AND holder = $1
    FOR UPDATE SKIP LOCKED
) AS mine
WHERE o.destination = mine.destination AND o.lane = mine.lane AND o.id = mine.id
RETURNING o.id
"""


async def free(
    conn: Connection, source: str, holder: str, destination: str, lane: Lane, since: UUID
) -> list[UUID]:
    """Ends the leases that this producer gave to RabbitMQ since the id `since`; returns what became claimable."""
    rows = await conn.fetch(bind(FREE, source=source), holder, destination, lane.value, since)
    return [row["id"] for row in rows]


NOTIFY = "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n(channel, payload)"


async def notify(conn: Connection, wakes: Sequence[tuple[str, str]]) -> None:
    """Sends wake-ups as (channel, payload)."""
    await conn.execute(NOTIFY, [channel for channel, _ in wakes], [payload for _, payload in wakes])
