"""All SQL about webhook subscriptions: which shops are due, what the last check found, what was done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Standing:
    """One topic or stranger after a check."""

    topic: str
    subscription_id: str
    state: str
    uri: str | None
    problem: str | None
    tried: str | None


# An install that has ended is begun again only by a later one: the bus may bring an old message late.
INSTALLED = """
INSERT INTO webhooks.subscription_shops AS s (shop, generation) VALUES ($1, $2)
ON CONFLICT (shop) DO UPDATE SET generation = $2, due_at = now(), ended_at = NULL
WHERE s.generation < $2 OR (s.generation = $2 AND s.ended_at IS NULL)
"""


async def installed(conn: Connection, shop: str, generation: int) -> None:
    """A shop has the app: it is looked at next."""
    await conn.execute(INSTALLED, shop, generation)


UNINSTALLED = """
INSERT INTO webhooks.subscription_shops AS s (shop, generation, ended_at) VALUES ($1, $2, now())
ON CONFLICT (shop) DO UPDATE SET generation = $2, ended_at = now(), error = NULL WHERE s.generation <= $2
RETURNING shop
"""
DROP_STATES = "DELETE FROM webhooks.subscription_states WHERE shop = $1"


async def uninstalled(conn: Connection, shop: str, generation: int) -> None:
    """Shopify has dropped the subscriptions with the install."""
    if await conn.fetchval(UNINSTALLED, shop, generation) is not None:
        await conn.execute(DROP_STATES, shop)


RESCOPED = "UPDATE webhooks.subscription_shops SET due_at = now() WHERE shop = $1 AND ended_at IS NULL"


async def rescoped(conn: Connection, shop: str) -> None:
    """The merchant has granted other scopes: what was refused may be taken now."""
    await conn.execute(RESCOPED, shop)


# One process at a time for a shop; a check that died gives it free by the clock. Who asks for another check meanwhile
# sets due_at to before the end of the lease, by which the one under way knows at its end.
TAKE_DUE = """
UPDATE webhooks.subscription_shops
SET holder = $1, leased_until = now() + $2::interval, due_at = now() + $2::interval
WHERE shop = (
    SELECT shop FROM webhooks.subscription_shops
    WHERE ended_at IS NULL AND due_at <= now() AND (leased_until IS NULL OR leased_until <= now())
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING shop
"""


async def take_due(conn: Connection, holder: UUID, lease: timedelta) -> str | None:
    """The shop that has waited longest for its check, or None."""
    shop: str | None = await conn.fetchval(TAKE_DUE, holder, lease)
    return shop


TAKE = """
INSERT INTO webhooks.subscription_shops AS s (shop, holder, leased_until, due_at)
VALUES ($1, $2, now() + $3::interval, now() + $3::interval)
ON CONFLICT (shop) DO UPDATE SET
    holder = $2, leased_until = now() + $3::interval, due_at = now() + $3::interval, ended_at = NULL
WHERE s.leased_until IS NULL OR s.leased_until <= now()
RETURNING shop
"""


async def take(conn: Connection, shop: str, holder: UUID, lease: timedelta) -> bool:
    """Whether a check of this shop may begin; False while another one is under way."""
    return await conn.fetchval(TAKE, shop, holder, lease) is not None


TRIED = """
SELECT topic, tried, problem FROM webhooks.subscription_states WHERE shop = $1 AND tried IS NOT NULL
"""


async def tried(conn: Connection, shop: str) -> dict[str, tuple[str, str]]:
    """What Shopify refused at the last check and why, by topic."""
    return {row["topic"]: (row["tried"], row["problem"]) for row in await conn.fetch(TRIED, shop)}


# Nothing is written for a shop that was erased, or that another check has taken over, while this one went on.
NOTE = """
INSERT INTO webhooks.subscription_history (shop, topic, action, detail)
SELECT $1, $3, $4, $5 FROM webhooks.subscription_shops WHERE shop = $1 AND holder = $2 FOR KEY SHARE
"""


async def note(conn: Connection, shop: str, holder: UUID, topic: str, action: str, detail: str) -> None:
    """Adds to the shop's history what was just done."""
    await conn.execute(NOTE, shop, holder, topic, action, detail)


# Spread, so that shops that were taken in together do not stay together.
FINISH = """
UPDATE webhooks.subscription_shops
SET holder = NULL, leased_until = NULL, checked_at = now(), error = NULL,
    due_at = CASE WHEN due_at < leased_until THEN due_at ELSE now() + $3::interval * (0.75 + random() / 2) END
WHERE shop = $1 AND holder = $2 RETURNING ended_at IS NULL
"""
KEEP_STATES = """
INSERT INTO webhooks.subscription_states (shop, checked_at, topic, subscription_id, state, uri, problem, tried)
SELECT $1, now(), * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
"""
FORGET_HISTORY = "DELETE FROM webhooks.subscription_history WHERE shop = $1 AND at < now() - $2::interval"


async def finish(
    conn: Connection, shop: str, holder: UUID, every: timedelta, keep: timedelta, found: Sequence[Standing]
) -> None:
    """The check has come to its end; in the caller's transaction."""
    if not await conn.fetchval(FINISH, shop, holder, every):
        return
    await conn.execute(DROP_STATES, shop)
    columns = [
        [getattr(one, name) for one in found]
        for name in ("topic", "subscription_id", "state", "uri", "problem", "tried")
    ]
    await conn.execute(KEEP_STATES, shop, *columns)
    await conn.execute(FORGET_HISTORY, shop, keep)


FAIL = """
UPDATE webhooks.subscription_shops
SET holder = NULL, leased_until = NULL, error = $3,
    due_at = CASE WHEN due_at < leased_until THEN due_at ELSE now() + $4::interval END
WHERE shop = $1 AND holder = $2
"""


async def fail(conn: Connection, shop: str, holder: UUID, error: str, again: timedelta) -> None:
    """The check could not be done, and is tried again later."""
    await conn.execute(FAIL, shop, holder, error, again)


# Unless it was installed again since the check began.
END = """
UPDATE webhooks.subscription_shops
SET holder = NULL, leased_until = NULL, error = $3,
    ended_at = CASE WHEN due_at < leased_until THEN ended_at ELSE now() END
WHERE shop = $1 AND holder = $2 RETURNING shop
"""


FORGET_UNKNOWN = """
DELETE FROM webhooks.subscription_shops
WHERE shop = $1 AND generation = 0 AND checked_at IS NULL AND ended_at IS NOT NULL
"""


async def end(conn: Connection, shop: str, holder: UUID, error: str) -> None:
    """The app is not installed; in the caller's transaction. A shop that never had it leaves nothing behind."""
    if await conn.fetchval(END, shop, holder, error) is not None:
        await conn.execute(DROP_STATES, shop)
        await conn.execute(FORGET_UNKNOWN, shop)


SHOP = """
SELECT shop, checked_at, due_at, error, ended_at, coalesce(leased_until > now(), false) AS checking
FROM webhooks.subscription_shops WHERE shop = $1
"""
STATES = """
SELECT topic, subscription_id, state, uri, problem FROM webhooks.subscription_states WHERE shop = $1
ORDER BY topic, subscription_id
"""
HISTORY = """
SELECT at, topic, action, detail FROM webhooks.subscription_history WHERE shop = $1 ORDER BY id DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What is known of one shop."""

    shop: asyncpg.Record
    states: Sequence[asyncpg.Record]
    history: Sequence[asyncpg.Record]


async def page(conn: Connection, shop: str, limit: int) -> Page | None:
    """One shop's last check and the newest of its history; None for a shop that was never seen."""
    row = await conn.fetchrow(SHOP, shop)
    if row is None:
        return None
    return Page(row, await conn.fetch(STATES, shop), await conn.fetch(HISTORY, shop, limit))


SHOPS = """
SELECT s.shop, s.checked_at, s.due_at, s.error, s.ended_at,
       (SELECT count(*) FROM webhooks.subscription_states t WHERE t.shop = s.shop AND t.state <> 'ok') AS not_ok
FROM webhooks.subscription_shops s WHERE s.shop > $1 ORDER BY s.shop LIMIT $2
"""


async def shops(conn: Connection, after: str, limit: int) -> list[asyncpg.Record]:
    """Shops by name, with how many of their topics are not as wanted."""
    return await conn.fetch(SHOPS, after, limit)


DRIFT = """
SELECT topic, state = 'cannot' AS refused, count(*) AS shops FROM webhooks.subscription_states
WHERE state <> 'ok' GROUP BY 1, 2
"""


async def drift(conn: Connection) -> list[asyncpg.Record]:
    """How many shops lack what is wanted, by topic."""
    return await conn.fetch(DRIFT)


OVERDUE = """
SELECT coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 FROM webhooks.subscription_shops
WHERE ended_at IS NULL
"""


async def overdue(conn: Connection) -> float:
    """Seconds for which the most patient shop has waited for its check; 0 or less where none waits."""
    seconds: float = await conn.fetchval(OVERDUE)
    return seconds
