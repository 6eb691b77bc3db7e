"""SQL that reads what has arrived out of the stored deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.common.db import Connection

SETTLED = "SELECT now() - $1::interval"


async def settled(conn: Connection, settle: timedelta) -> datetime:
    """So long ago by Postgres' clock: processes may disagree about the time."""
    moment: datetime = await conn.fetchval(SETTLED, settle)
    return moment


# Whoever reads holds the row until its transaction ends, so every message is read once.
TAKE = "SELECT since, upto FROM webhooks.arrivals_read FOR UPDATE"


async def take(conn: Connection) -> tuple[datetime, UUID | None]:
    """Before when nothing is read, and up to where all has been, None at first.

    The caller's transaction keeps others out.
    """
    row = await conn.fetchrow(TAKE)
    if row is None:
        raise LookupError("webhooks.arrivals_read has no row")
    return row["since"], row["upto"]


# As many as one transaction should read: so many, or those that begin within so many bytes. Of other topics no body.
READ = """
SELECT id, type, shop, time, dataschema, body FROM (
    SELECT id, type, shop, time, dataschema, CASE WHEN wanted THEN body END AS body,
           sum(CASE WHEN wanted THEN octet_length(body) ELSE 0 END) OVER (ORDER BY id) - octet_length(body) AS before
    FROM (
        SELECT *, type = ANY ($3::text[]) AS wanted FROM webhooks.messages
        WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $4
    ) AS m
) AS n WHERE before < $5 ORDER BY id
"""


async def read(
    conn: Connection, after: UUID, upto: UUID, types: Sequence[str], limit: int, most_bytes: int
) -> list[asyncpg.Record]:
    """The next messages, with the bodies of those types."""
    return await conn.fetch(READ, after, upto, list(types), limit, most_bytes)


ADVANCE = "UPDATE webhooks.arrivals_read SET upto = greatest(upto, $1)"


async def advance(conn: Connection, upto: UUID) -> None:
    """All up to here has been read."""
    await conn.execute(ADVANCE, upto)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest of one resource in a batch."""

    shop: str
    family: str
    resource_id: int
    updated_at: datetime
    topics: list[str]


# In the order of the keys, so that two transactions never wait for each other in a circle.
KEEP = """
INSERT INTO webhooks.arrivals AS a (shop, family, resource_id, updated_at, topics)
SELECT shop, family, resource_id, updated_at, string_to_array(topics, ' ')
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[])
     AS i(shop, family, resource_id, updated_at, topics)
WHERE EXISTS (SELECT FROM webhooks.subscription_shops AS s WHERE s.shop = i.shop)  -- no other is compared
ORDER BY shop, family, resource_id
ON CONFLICT (shop, family, resource_id) DO UPDATE SET
    updated_at = greatest(a.updated_at, excluded.updated_at),
    topics = ARRAY(SELECT DISTINCT unnest(a.topics || excluded.topics))
"""


async def keep(conn: Connection, seen: Sequence[Seen]) -> None:
    """Remembers the newest of each resource."""
    await conn.execute(
        KEEP,
        [one.shop for one in seen],
        [one.family for one in seen],
        [one.resource_id for one in seen],
        [one.updated_at for one in seen],
        [" ".join(one.topics) for one in seen],
    )


@dataclass(frozen=True, slots=True)
class Delivered:
    """A webhook of Shopify's own, as far as it tells whether another one was late."""

    shop: str
    family: str
    resource_id: int
    updated_at: datetime
    topic: str
    message_id: UUID


# What was fed as an update stood for a state, which any whole payload tells; as a moment, for what one topic tells.
MARK_LATE = """
UPDATE webhooks.reconciled AS r SET late_at = now()
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::uuid[])
     AS d(shop, family, resource_id, updated_at, topic, message_id)
WHERE r.shop = d.shop AND r.family = d.family AND r.resource_id = d.resource_id AND r.late_at IS NULL
  AND CASE WHEN r.topic = ANY ($7::text[]) THEN r.updated_at = d.updated_at ELSE r.topic = d.topic END
  AND r.message_id < d.message_id
"""


async def mark_late(conn: Connection, delivered: Sequence[Delivered], updates: Sequence[str]) -> int:
    """Notes that a webhook came after the reconciler had fed it; `updates` are the topics that stand for a state."""
    names = ("shop", "family", "resource_id", "updated_at", "topic", "message_id")
    columns = ([getattr(one, name) for one in delivered] for name in names)
    status: str = await conn.execute(MARK_LATE, *columns, list(updates))
    return int(status.rpartition(" ")[2])
