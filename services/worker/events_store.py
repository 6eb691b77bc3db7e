"""SQL that asks for pixel events. Each statement is about one shop, and about days that are named."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the list, which goes from the newest event to the oldest."""

    occurred_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are asked for; None is any."""

    shop: str
    since: datetime
    until: datetime
    name: str | None = None
    client_id: str | None = None


# One day is one partition, and its index has the order of the list. So many rows are looked through and no more, so
# that a page costs the same whether the name is a common one or there is none of that name.
PAGE = """
SELECT event_id, name, kind, client_id, seq, occurred_at, received_at, marks, version, content
FROM (
    SELECT * FROM worker.pixel_events
    WHERE day = $1 AND shop = $2 AND (occurred_at, event_id) < ($3, $4) AND occurred_at >= $5
    ORDER BY occurred_at DESC, event_id DESC LIMIT $8
) AS walked
WHERE ($6::text IS NULL OR name = $6) AND ($7::text IS NULL OR client_id = $7)
ORDER BY occurred_at DESC, event_id DESC LIMIT $9
"""
FLOOR = """
SELECT occurred_at, event_id FROM worker.pixel_events
WHERE day = $1 AND shop = $2 AND (occurred_at, event_id) < ($3, $4) AND occurred_at >= $5
ORDER BY occurred_at DESC, event_id DESC OFFSET $6 LIMIT 1
"""
OF_CLIENT = """
SELECT event_id, name, kind, client_id, seq, occurred_at, received_at, marks, version, content
FROM worker.pixel_events
WHERE day = $1 AND shop = $2 AND client_id = $3 AND (occurred_at, event_id) < ($4, $5) AND occurred_at >= $6
  AND ($7::text IS NULL OR name = $7)
ORDER BY occurred_at DESC, event_id DESC LIMIT $8
"""


async def page(
    conn: Connection, wanted: Wanted, day: date, before: Spot, *, limit: int, depth: int
) -> list[asyncpg.Record]:
    """Events of one day before a place in the list, among the next `depth`."""
    spot = before.occurred_at, before.event_id
    if wanted.client_id is not None:
        return await conn.fetch(
            OF_CLIENT, day, wanted.shop, wanted.client_id, *spot, wanted.since, wanted.name, limit
        )
    return await conn.fetch(
        PAGE, day, wanted.shop, *spot, wanted.since, wanted.name, wanted.client_id, depth, limit
    )


async def floor(conn: Connection, wanted: Wanted, day: date, before: Spot, depth: int) -> Spot | None:
    """The last of the next `depth` events of a day, or None where there are not that many."""
    spot = before.occurred_at, before.event_id
    row = await conn.fetchrow(FLOOR, day, wanted.shop, *spot, wanted.since, depth - 1)
    return None if row is None else Spot(row["occurred_at"], row["event_id"])


# A page's events have the numbers of its own visit; what has none comes last.
TIMELINE = """
SELECT event_id, name, kind, client_id, seq, occurred_at, received_at, marks, version, content
FROM worker.pixel_events WHERE shop = $1 AND client_id = $2 AND day BETWEEN $3 AND $4
ORDER BY seq, occurred_at, event_id OFFSET $5 LIMIT $6
"""


async def timeline(
    conn: Connection, shop: str, client_id: str, days: tuple[date, date], *, skip: int, limit: int
) -> list[asyncpg.Record]:
    """A visitor's events in order."""
    return await conn.fetch(TIMELINE, shop, client_id, *days, skip, limit)


COUNTS = """
SELECT day, name, count(*) AS events FROM worker.pixel_events
WHERE shop = $1 AND day BETWEEN $2 AND $3 AND (marks & $4) = 0
GROUP BY day, name ORDER BY day DESC, events DESC, name
"""


async def counts(
    conn: Connection, shop: str, days: tuple[date, date], *, without: int
) -> list[asyncpg.Record]:
    """Events by day and name, without those that have one of the marks `without`."""
    return await conn.fetch(COUNTS, shop, *days, without)


FUNNEL = """
SELECT stage, count(*) AS visitors FROM (
    SELECT max(array_position($5::text[], name)) AS stage FROM worker.pixel_events
    WHERE shop = $1 AND day BETWEEN $2 AND $3 AND (marks & $4) = 0 AND client_id IS NOT NULL
    GROUP BY client_id
) AS visits WHERE stage IS NOT NULL GROUP BY stage
"""


async def funnel(
    conn: Connection, shop: str, days: tuple[date, date], stages: Sequence[str], *, without: int
) -> dict[int, int]:
    """How many visitors got as far as each stage (from 1) and no further."""
    rows = await conn.fetch(FUNNEL, shop, *days, without, list(stages))
    return {row["stage"]: row["visitors"] for row in rows}
