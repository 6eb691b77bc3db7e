"""All SQL of the reconciler: which shops are due, the ledger of hours, what was fed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from libs.common.db import Connection
from services.webhooks.reconcile_plan import Arrival, Looked


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop that a run has taken."""

    name: str
    since: datetime
    asked: bool
    begun_at: datetime
    denied: frozenset[str]  # families, at the last run


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of one family, as it is written into the ledger."""

    hour: datetime
    until: datetime
    at_shopify: int
    arrived: int
    reconciled: int
    missing: int


@dataclass(frozen=True, slots=True)
class Fed:
    """One webhook that had not come."""

    family: str
    resource_id: int
    updated_at: datetime
    topic: str
    message_id: UUID | None
    problem: str | None


# A shop is compared from when its subscriptions had been looked after; after another install, from now on.
TAKE_IN = """
INSERT INTO webhooks.reconciled_shops AS r (shop, generation, since, due_at)
SELECT shop, generation, greatest(checked_at, (SELECT since FROM webhooks.arrivals_read)),
       now() + $1::interval * random()
FROM webhooks.subscription_shops AS s
WHERE ended_at IS NULL AND checked_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM webhooks.reconciled_shops WHERE shop = s.shop AND generation = s.generation)
ON CONFLICT (shop) DO UPDATE SET generation = excluded.generation, since = now(), error = NULL
WHERE r.generation < excluded.generation
"""


async def take_in(conn: Connection, spread: timedelta) -> None:
    """Adds shops that have installed the app since the last look."""
    await conn.execute(TAKE_IN, spread)


# As for subscriptions: one process at a time, free by the clock where it died. Who asks meanwhile takes begun_at away,
# by which the run under way knows at its end that it began too early. What a holder still has broke off with Postgres.
TAKE_DUE = """
UPDATE webhooks.reconciled_shops
SET holder = $1, leased_until = now() + $2::interval, due_at = now() + $2::interval,
    begun_at = coalesce(begun_at, now())
WHERE shop = (
    SELECT r.shop FROM webhooks.reconciled_shops AS r JOIN webhooks.subscription_shops AS s USING (shop)
    WHERE s.ended_at IS NULL
      AND (r.holder = $1 OR r.due_at <= now() AND (r.leased_until IS NULL OR r.leased_until <= now()))
    ORDER BY r.due_at LIMIT 1 FOR UPDATE OF r SKIP LOCKED
)
RETURNING shop, since, asked, denied, begun_at
"""


async def take_due(conn: Connection, holder: UUID, lease: timedelta) -> Shop | None:
    """The shop that has waited longest, or None."""
    row = await conn.fetchrow(TAKE_DUE, holder, lease)
    return (
        Shop(row["shop"], row["since"], row["asked"], row["begun_at"], frozenset(row["denied"]))
        if row
        else None
    )


ASK = """
UPDATE webhooks.reconciled_shops AS r SET due_at = now(), asked = true, begun_at = NULL
FROM webhooks.subscription_shops AS s WHERE r.shop = $1 AND s.shop = r.shop AND s.ended_at IS NULL
RETURNING now()
"""


async def ask(conn: Connection, shop: str) -> datetime | None:
    """Makes the shop due now; since when, or None where it is not compared."""
    moment: datetime | None = await conn.fetchval(ASK, shop)
    return moment


# Everything that a run writes begins with this, so that nothing is written for a shop that was erased, or that another
# run has taken over.
HOLD = """
UPDATE webhooks.reconciled_shops
SET leased_until = now() + $3::interval,
    due_at = CASE WHEN begun_at IS NULL THEN due_at ELSE now() + $3::interval END
WHERE shop = $1 AND holder = $2 RETURNING shop
"""


async def hold(conn: Connection, shop: str, holder: UUID, lease: timedelta) -> bool:
    """Whether the shop is still this run's; then for longer."""
    return await conn.fetchval(HOLD, shop, holder, lease) is not None


# A shop without anything missing is proven up to where this run looked. Spread, so that shops that were taken in
# together do not stay together.
# From when the shop is, if no run of it has come to its end yet. What is granted or wanted later was sent to nobody
# before that.
TAKE_FAMILIES = """
UPDATE webhooks.reconciled_shops SET families = (
    SELECT coalesce(jsonb_object_agg(name, coalesce(
               families -> name, to_jsonb(CASE WHEN checked_at IS NULL THEN since ELSE now() END))), '{}')
    FROM unnest($3::text[]) AS name)
WHERE shop = $1 AND holder = $2 RETURNING families
"""


async def take_families(
    conn: Connection, shop: str, holder: UUID, names: Sequence[str]
) -> dict[str, datetime] | None:
    """Since when each of them is compared, and no other any more; None if the shop is not this run's."""
    text = await conn.fetchval(TAKE_FAMILIES, shop, holder, list(names))
    return None if text is None else families(text)


def families(text: str) -> dict[str, datetime]:
    """Since when each family is compared, as the column says."""
    return {name: datetime.fromisoformat(moment) for name, moment in orjson.loads(text).items()}


FINISH = """
UPDATE webhooks.reconciled_shops
SET holder = NULL, leased_until = NULL, begun_at = NULL, ended_at = now(), checked_at = now(), error = NULL,
    denied = $4, families = families - $4::text[],
    asked = begun_at IS NULL AND asked,
    due_at = CASE WHEN begun_at IS NULL THEN due_at ELSE now() + $3::interval * (0.75 + random() / 2) END,
    proven_until = coalesce((SELECT min(hour) FROM webhooks.reconciled_hours
                             WHERE shop = $1 AND missing > 0 AND until > since), $5)
WHERE shop = $1 AND holder = $2
"""


async def finish(
    conn: Connection, shop: str, holder: UUID, every: timedelta, denied: Sequence[str], until: datetime
) -> None:
    """The run has come to its end."""
    await conn.execute(FINISH, shop, holder, every, list(denied), until)


# Behind the shops that are due already. Not ended, so whoever has asked waits on.
PAUSE = """
UPDATE webhooks.reconciled_shops SET holder = NULL, leased_until = NULL, due_at = now()
WHERE shop = $1 AND holder = $2
"""


async def pause(conn: Connection, shop: str, holder: UUID) -> None:
    """The run has had its time, and is gone on with in turn."""
    await conn.execute(PAUSE, shop, holder)


FAIL = """
UPDATE webhooks.reconciled_shops
SET holder = NULL, leased_until = NULL, begun_at = NULL, ended_at = now(), error = $3,
    due_at = CASE WHEN begun_at IS NULL THEN due_at ELSE now() + $4::interval END
WHERE shop = $1 AND holder = $2
"""


async def fail(conn: Connection, shop: str, holder: UUID, error: str, again: timedelta) -> None:
    """The run broke off, and is gone on with later."""
    await conn.execute(FAIL, shop, holder, error, again)


LOOKED = (
    "SELECT hour, until, missing, checked_at FROM webhooks.reconciled_hours WHERE shop = $1 AND family = $2"
)


async def looked(conn: Connection, shop: str, family: str) -> dict[datetime, Looked]:
    """The hours that were looked at."""
    rows = await conn.fetch(LOOKED, shop, family)
    return {row["hour"]: Looked(row["until"], row["missing"], row["checked_at"]) for row in rows}


KEEP_HOURS = """
INSERT INTO webhooks.reconciled_hours
    (shop, family, checked_at, hour, until, at_shopify, arrived, reconciled, missing)
SELECT $1, $2, now(), * FROM unnest($3::timestamptz[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::int[])
ON CONFLICT (shop, family, hour) DO UPDATE SET
    until = excluded.until, at_shopify = excluded.at_shopify, arrived = excluded.arrived,
    reconciled = excluded.reconciled, missing = excluded.missing, checked_at = excluded.checked_at
"""


async def keep_hours(conn: Connection, shop: str, family: str, hours: Sequence[Hour]) -> None:
    """Writes hours that were looked at to their end."""
    names = ("hour", "until", "at_shopify", "arrived", "reconciled", "missing")
    await conn.execute(KEEP_HOURS, shop, family, *([getattr(one, name) for one in hours] for name in names))


FORGET_PROBLEMS = """
DELETE FROM webhooks.reconciled
WHERE shop = $1 AND family = $2 AND message_id IS NULL AND updated_at >= $3 AND updated_at < $4
"""


async def forget_problems(conn: Connection, shop: str, family: str, start: datetime, end: datetime) -> None:
    """What could not be fed is looked at anew, and noted again if it is so still."""
    await conn.execute(FORGET_PROBLEMS, shop, family, start, end)


ARRIVALS = """
SELECT a.resource_id, a.updated_at, a.topics,
       (SELECT max(updated_at) FROM webhooks.reconciled
        WHERE shop = a.shop AND family = a.family AND resource_id = a.resource_id
          AND message_id IS NOT NULL AND late_at IS NULL) AS fed_at
FROM webhooks.arrivals AS a WHERE a.shop = $1 AND a.family = $2 AND a.resource_id = ANY ($3::bigint[])
"""


async def arrivals(conn: Connection, shop: str, family: str, ids: Sequence[int]) -> Mapping[int, Arrival]:
    """What is known of these resources."""
    return {
        row["resource_id"]: Arrival(row["updated_at"], frozenset(row["topics"]), row["fed_at"])
        for row in await conn.fetch(ARRIVALS, shop, family, list(ids))
    }


NOTE = """
INSERT INTO webhooks.reconciled AS r (shop, family, resource_id, updated_at, topic, message_id, problem)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::uuid[], $7::text[])
ON CONFLICT (shop, family, resource_id, updated_at, topic) DO UPDATE SET
    message_id = coalesce(r.message_id, excluded.message_id),
    problem = CASE WHEN r.message_id IS NULL THEN excluded.problem END
"""


async def note(conn: Connection, shop: str, fed: Sequence[Fed]) -> None:
    """Remembers what was fed, or could not be; once, however often it is found."""
    names = ("family", "resource_id", "updated_at", "topic", "message_id", "problem")
    await conn.execute(NOTE, shop, *([getattr(one, name) for one in fed] for name in names))


GAUGES = """
SELECT coalesce(max(extract(epoch FROM now() - greatest(r.proven_until, r.since))), 0)::float8 AS unproven,
       coalesce(max(extract(epoch FROM now() - coalesce(r.checked_at, r.since))), 0)::float8 AS age
FROM webhooks.reconciled_shops AS r JOIN webhooks.subscription_shops AS s USING (shop) WHERE s.ended_at IS NULL
"""
MISSING = """
SELECT topic, count(*) AS missing FROM webhooks.reconciled WHERE message_id IS NULL GROUP BY topic
"""


async def gauges(conn: Connection) -> tuple[float, float, dict[str, int]]:
    """Seconds that a shop is not proven for and since its run, of the worst; what could not be fed, by topic."""
    row = await conn.fetchrow(GAUGES)
    missing = {found["topic"]: found["missing"] for found in await conn.fetch(MISSING)}
    return (row["unproven"], row["age"], missing) if row else (0.0, 0.0, missing)
