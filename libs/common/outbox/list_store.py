"""SQL that walks messages by their id, newest first, place by place.

Ids are UUIDv7s, so their order is that of acceptance and every walk is a range of an index. What a filter asks for is
looked for among the next `depth` rows only: a page costs the same however rare the answer is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from libs.common.outbox import look_store
from libs.common.outbox.look_store import LANES
from libs.common.outbox.names import bind

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Window:
    """Ids from `since` up to, and without, `before`; of the others None is any."""

    before: UUID = LAST_ID
    since: UUID = FIRST_ID
    type: str | None = None
    shop: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where messages stand, by two statements: a page of them, and the id at which a page's look ends.

    The parameters of the first are its keys, before, since, depth, type, shop and limit; of the second its keys,
    before, since and depth.
    """

    page: str
    page_keys: tuple[str, ...]
    floor: str
    floor_keys: tuple[str, ...]
    status: str = ""  # where one table holds several
    ids_only: bool = False  # the page does not say where its messages stand
    mixed: bool = False  # the rows of all sources are one walk


EVERYWHERE = Place(
    page="""
SELECT id FROM (
    SELECT id, type, shop FROM SOURCE.messages WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT $3
) AS looked
WHERE ($4::text IS NULL OR type = $4) AND ($5::text IS NULL OR shop = $5) ORDER BY id DESC LIMIT $6
""",
    page_keys=(),
    floor="SELECT id FROM SOURCE.messages WHERE id < $1 AND id >= $2 ORDER BY id DESC OFFSET $3 - 1 LIMIT 1",
    floor_keys=(),
    ids_only=True,
)

# Walked lane by lane, since the lane stands before the id in the index.
OUTBOX_PAGE = """
SELECT w.id, $3::text AS source, w.type, w.shop, w.lane, w.status, NULL AS outcome, NULL AS reason, w.tries,
       NULL::timestamptz AS finished_at, NULL::timestamptz AS next_attempt_at
FROM unnest($2::text[]) AS l(lane) CROSS JOIN LATERAL (
    SELECT looked.id, looked.lane, looked.status, jsonb_array_length(coalesce(looked.log, '[]')) AS tries,
           m.type, m.shop
    FROM (
        SELECT id, lane, log, CASE WHEN leased_until IS NULL OR leased_until < now() THEN 'pending'
                                   WHEN holder LIKE 'broker:%' THEN 'queued' ELSE 'processing' END AS status
        FROM SOURCE.outbox
        WHERE destination = $1 AND lane = l.lane AND id < $5 AND id >= $6 ORDER BY id DESC LIMIT $7
    ) AS looked
    CROSS JOIN LATERAL (SELECT type, shop FROM SOURCE.messages WHERE id = looked.id OFFSET 0) AS m
    WHERE looked.status = $4 AND ($8::text IS NULL OR m.type = $8) AND ($9::text IS NULL OR m.shop = $9)
    ORDER BY looked.id DESC LIMIT $10
) AS w
ORDER BY w.id DESC LIMIT $10
"""

OUTBOX_FLOOR = """
SELECT w.id FROM unnest($2::text[]) AS l(lane) CROSS JOIN LATERAL (
    SELECT id FROM SOURCE.outbox
    WHERE destination = $1 AND lane = l.lane AND id < $3 AND id >= $4 ORDER BY id DESC OFFSET $5 - 1 LIMIT 1
) AS w
ORDER BY w.id DESC LIMIT 1
"""


def _outbox(status: str) -> Place:
    keys = ("consumer", "lanes", "source", "status")
    return Place(OUTBOX_PAGE, keys, OUTBOX_FLOOR, ("consumer", "lanes"), status=status)


READY, QUEUED, PROCESSING = _outbox("pending"), _outbox("queued"), _outbox("processing")

SCHEDULED = Place(
    page="""
SELECT looked.message_id AS id, $1::text AS source, m.type, m.shop, looked.lane, 'pending' AS status,
       NULL AS outcome, looked.reason, jsonb_array_length(coalesce(looked.log, '[]')) AS tries,
       NULL::timestamptz AS finished_at, looked.due_at AS next_attempt_at
FROM (
    SELECT message_id, lane, reason, due_at, log FROM CONSUMER.scheduled
    WHERE source = $1 AND message_id < $2 AND message_id >= $3 ORDER BY message_id DESC LIMIT $4
) AS looked
CROSS JOIN LATERAL (SELECT type, shop FROM SOURCE.messages WHERE id = looked.message_id OFFSET 0) AS m
WHERE ($5::text IS NULL OR m.type = $5) AND ($6::text IS NULL OR m.shop = $6)
ORDER BY looked.message_id DESC LIMIT $7
""",
    page_keys=("source",),
    floor="""
SELECT message_id FROM CONSUMER.scheduled WHERE source = $1 AND message_id < $2 AND message_id >= $3
ORDER BY message_id DESC OFFSET $4 - 1 LIMIT 1
""",
    floor_keys=("source",),
)

FAILED = Place(
    page="""
SELECT message_id AS id, source, type, shop, lane, 'failed' AS status, NULL AS outcome, reason,
       jsonb_array_length(coalesce(log, '[]')) AS tries, failed_at AS finished_at,
       NULL::timestamptz AS next_attempt_at
FROM (
    SELECT * FROM CONSUMER.failed
    WHERE source = $1 AND message_id < $2 AND message_id >= $3 ORDER BY message_id DESC LIMIT $4
) AS looked
WHERE ($5::text IS NULL OR type = $5) AND ($6::text IS NULL OR shop = $6) ORDER BY message_id DESC LIMIT $7
""",
    page_keys=("source",),
    floor="""
SELECT message_id FROM CONSUMER.failed WHERE source = $1 AND message_id < $2 AND message_id >= $3
ORDER BY message_id DESC OFFSET $4 - 1 LIMIT 1
""",
    floor_keys=("source",),
)

# One index holds the rows of all sources, so this is one walk for them all.
HISTORY = Place(
    page="""
SELECT message_id AS id, source, type, shop, lane, 'completed' AS status, outcome, NULL AS reason,
       jsonb_array_length(coalesce(log, '[]')) + (outcome <> 'cancelled')::int AS tries, finished_at,
       NULL::timestamptz AS next_attempt_at
FROM (
    SELECT * FROM CONSUMER.history WHERE message_id < $1 AND message_id >= $2 ORDER BY message_id DESC LIMIT $3
) AS looked
WHERE ($4::text IS NULL OR type = $4) AND ($5::text IS NULL OR shop = $5) ORDER BY message_id DESC LIMIT $6
""",
    page_keys=(),
    floor="""
SELECT message_id FROM CONSUMER.history WHERE message_id < $1 AND message_id >= $2
ORDER BY message_id DESC OFFSET $3 - 1 LIMIT 1
""",
    floor_keys=(),
    mixed=True,
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one walk, newest first, and the id down to which they are all there are; None is all the way."""

    rows: Sequence[asyncpg.Record]
    floor: UUID | None


async def walk(
    conn: Connection, place: Place, source: str, consumer: str, window: Window, *, limit: int, depth: int
) -> Stretch:
    """The next rows of one place. Several walks belong into one snapshot, lest a message slip between them."""
    keys = {"consumer": consumer, "source": source, "lanes": LANES, "status": place.status}
    span = (window.before, window.since, depth)
    rows = await conn.fetch(
        bind(place.page, source=source, consumer=consumer), *(keys[name] for name in place.page_keys), *span,
        window.type, window.shop, limit,
    )  # fmt: skip
    if len(rows) >= limit:
        floor: UUID | None = rows[-1]["id"]
    else:
        floor = await conn.fetchval(
            bind(place.floor, source=source, consumer=consumer),
            *(keys[name] for name in place.floor_keys), *span,
        )  # fmt: skip
    if place.ids_only and rows:
        rows = await look_store.look(conn, source, consumer, [row["id"] for row in rows])
    return Stretch(rows, floor)
