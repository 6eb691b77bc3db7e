"""SQL of services/ingest beyond the outbox protocol: keys, the quarantine and the limits."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

import asyncpg

from libs.common.db import Connection

NEEDED = (
    *(f"ingest.{name}" for name in ("messages", "outbox", "scheduled", "failed", "history")),
    *(f"ingest.{name}" for name in ("extensions", "extension_keys", "quarantine", "limits")),
    "shopify.budgets",  # the worker's migrations make it
)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What a public key stands for."""

    shop: str
    active: bool
    hosts: frozenset[str]


KEYS = """
SELECT k.key, k.shop, e.active AND (k.ends_at IS NULL OR k.ends_at > now()) AS active, e.hosts
FROM ingest.extension_keys k JOIN ingest.extensions e USING (shop) WHERE k.key = ANY ($1::text[])
"""


async def keys(conn: Connection, wanted: Sequence[str]) -> dict[str, KnownKey]:
    """Those of these keys that are known."""
    rows = await conn.fetch(KEYS, list(wanted))
    return {
        row["key"]: KnownKey(row["shop"], row["active"], frozenset((row["shop"], *row["hosts"])))
        for row in rows
    }


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An event that could not be kept: why, and how it begins."""

    at: datetime
    shop: str
    cause: str
    version: str | None
    detail: str
    sample: str


QUARANTINE = """
INSERT INTO ingest.quarantine (at, shop, cause, version, detail, sample)
SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
"""


async def quarantine(conn: Connection, events: Sequence[Quarantined]) -> None:
    """Puts events aside."""
    await conn.execute(QUARANTINE, *map(list, zip(*map(astuple, events), strict=True)))


# Rows are numbered as they come, and within a few places of their time, so the number decides for both limits.
FORGET_QUARANTINE = """
DELETE FROM ingest.quarantine WHERE id IN (
    SELECT id FROM ingest.quarantine
    WHERE id <= (SELECT id FROM ingest.quarantine ORDER BY id DESC OFFSET $1 LIMIT 1) OR at < now() - $2::interval
    ORDER BY id LIMIT $3
)
"""


async def forget_quarantine(conn: Connection, keep: int, days: int, batch: int) -> int:
    """Deletes a batch of the oldest beyond the last `keep`, or older than `days`; returns how many."""
    status: str = await conn.execute(FORGET_QUARANTINE, keep, timedelta(days=days), batch)
    return int(status.rpartition(" ")[2])


# Named shops and causes are looked for among the last events only, which the quarantine's size bounds.
QUARANTINE_PAGE = """
SELECT id, at, shop, cause, version, detail, sample FROM ingest.quarantine
WHERE id < $1 AND ($2::text IS NULL OR cause = $2) AND ($3::text IS NULL OR shop = $3) ORDER BY id DESC LIMIT $4
"""


async def quarantine_page(
    conn: Connection, *, before: int, cause: str | None, shop: str | None, limit: int
) -> list[asyncpg.Record]:
    """Events in quarantine before an id, the newest first."""
    return await conn.fetch(QUARANTINE_PAGE, before, cause, shop, limit)


QUARANTINE_COUNTS = """
SELECT cause, count(*) AS events, max(at) AS last FROM ingest.quarantine GROUP BY cause ORDER BY cause
"""


async def quarantine_counts(conn: Connection) -> list[asyncpg.Record]:
    """How many events of each cause are in quarantine, and since when none came."""
    return await conn.fetch(QUARANTINE_COUNTS)


# A bucket fills up by itself, at its rate, to its burst; a row that is not there is a full one. Whoever comes takes
# what it asks for or as much as there is, never more, so that all processes together keep the limit. Rows are taken in
# the order of their names: two processes that ask for the same ones wait for each other instead of deadlocking. Who has
# waited may come with an older time than the row's, which must not fill it twice.
LEASE = """
INSERT INTO ingest.limits AS l (name, granted, tokens, at, rate, burst)
SELECT name, least(wanted, burst), burst - least(wanted, burst), clock_timestamp(), rate, burst
FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[]) AS i(name, rate, burst, wanted) ORDER BY name
ON CONFLICT (name) DO UPDATE SET
    granted = least(excluded.granted,
                    least(excluded.burst,
                          l.tokens + excluded.rate * greatest(0, extract(epoch FROM excluded.at - l.at)))),
    tokens = greatest(0, least(excluded.burst,
                               l.tokens + excluded.rate * greatest(0, extract(epoch FROM excluded.at - l.at)))
                         - excluded.granted),
    at = greatest(l.at, excluded.at), rate = excluded.rate, burst = excluded.burst
RETURNING name, granted
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """How many tokens are wanted of a bucket."""

    name: str
    rate: float  # tokens a second
    burst: float
    wanted: float


async def lease(conn: Connection, asks: Sequence[Ask]) -> dict[str, float]:
    """Takes tokens out of buckets, each named once; returns how many were got, by name."""
    rows = await conn.fetch(LEASE, *map(list, zip(*map(astuple, asks), strict=True)))
    return {row["name"]: row["granted"] for row in rows}


FORGET_LIMITS = """
DELETE FROM ingest.limits WHERE name IN (
    SELECT name FROM ingest.limits WHERE at < now() - make_interval(secs => burst / rate)
    LIMIT $1 FOR UPDATE SKIP LOCKED
)
"""


async def forget_limits(conn: Connection, batch: int) -> int:
    """Deletes buckets that have had the time to become full again; returns how many."""
    status: str = await conn.execute(FORGET_LIMITS, batch)
    return int(status.rpartition(" ")[2])
