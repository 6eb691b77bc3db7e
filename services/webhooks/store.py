"""All SQL of services/webhooks beyond the outbox protocol: the deliveries log and the log of rejected requests."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that was turned away, as it called itself. Never its body, never its signature."""

    at: datetime
    reason: str
    shop: str | None
    topic: str | None
    webhook_id: str | None
    remote: str | None
    user_agent: str | None
    body_bytes: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries are asked for; None is any."""

    shop: str | None = None
    type: str | None = None


_TABLES = (
    *("messages", "outbox", "scheduled", "failed", "history", "rejected", "deliveries"),
    *("privacy_tombstones", "privacy_progress"),
    *("subscription_shops", "subscription_states", "subscription_history"),
    *("arrivals", "arrivals_read", "reconciled_shops", "reconciled_hours", "reconciled"),
)


NEEDED = tuple(f"webhooks.{table}" for table in _TABLES)
"""What the service cannot do without."""

# The answer to a page's question is looked for among this many deliveries only, so that a page costs the same
# whether the shop is a busy one or there is none of that name. Where the page ends before the log does, `next` goes on.
FLOOR = """
SELECT message_id FROM webhooks.deliveries WHERE message_id < $1 AND message_id >= $2
ORDER BY message_id DESC OFFSET $3 LIMIT 1
"""


async def floor(conn: Connection, before: UUID, since: UUID, depth: int) -> UUID | None:
    """The id `depth` deliveries further back, or None where there are not that many."""
    found: UUID | None = await conn.fetchval(FLOOR, before, since, depth)
    return found


_COLUMNS_OF = """
SELECT message_id, type, shop, topic, webhook_id, event_id, api_version, triggered_at, received_at, origin, headers,
       octet_length(body) AS body_bytes
FROM webhooks.deliveries
"""
DELIVERIES = (
    _COLUMNS_OF
    + """
WHERE message_id < $1 AND message_id >= $2 AND ($3::text IS NULL OR shop = $3) AND ($4::text IS NULL OR type = $4)
ORDER BY message_id DESC LIMIT $5
"""
)


async def deliveries(
    conn: Connection, wanted: Filter, *, before: UUID, floor: UUID, limit: int
) -> list[asyncpg.Record]:
    """Deliveries between two ids, the newest first, without their bodies."""
    return await conn.fetch(DELIVERIES, before, floor, wanted.shop, wanted.type, limit)


DELIVERY = _COLUMNS_OF + "WHERE message_id = $1"


async def delivery(conn: Connection, message_id: UUID) -> asyncpg.Record | None:
    """One delivery without its body."""
    return await conn.fetchrow(DELIVERY, message_id)


BODY = "SELECT body FROM webhooks.deliveries WHERE message_id = $1"


async def body(conn: Connection, message_id: UUID) -> bytes | None:
    """A delivery's body as it was received."""
    found: bytes | None = await conn.fetchval(BODY, message_id)
    return found


KEEP_REJECTIONS = """
INSERT INTO webhooks.rejected (at, reason, shop, topic, webhook_id, remote, user_agent, body_bytes, detail)
SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::bigint[], $9::text[])
"""


async def keep_rejections(conn: Connection, rejections: Sequence[Rejection]) -> None:
    """Adds to the log of rejected requests."""
    await conn.execute(KEEP_REJECTIONS, *map(list, zip(*map(astuple, rejections), strict=True)))


# Rows are numbered as they come, and within a few places of their time, so the number decides for both limits.
FORGET_REJECTIONS = """
DELETE FROM webhooks.rejected WHERE id IN (
    SELECT id FROM webhooks.rejected
    WHERE id <= (SELECT id FROM webhooks.rejected ORDER BY id DESC OFFSET $1 LIMIT 1) OR at < now() - $2::interval
    ORDER BY id LIMIT $3
)
"""


async def forget_rejections(conn: Connection, keep: int, days: int, batch: int) -> int:
    """Deletes a batch of the oldest rows beyond the last `keep`, or older than `days`; returns how many."""
    status: str = await conn.execute(FORGET_REJECTIONS, keep, timedelta(days=days), batch)
    return int(status.rpartition(" ")[2])


REJECTIONS = """
SELECT id, at, reason, shop, topic, webhook_id, remote, user_agent, body_bytes, detail FROM webhooks.rejected
WHERE id < $1 AND ($2::text IS NULL OR reason = $2) ORDER BY id DESC LIMIT $3
"""


async def rejections(
    conn: Connection, *, reason: str | None, before: int, limit: int
) -> list[asyncpg.Record]:
    """Rejected requests before an id, the newest first."""
    return await conn.fetch(REJECTIONS, before, reason, limit)
