"""SQL that reads the reconciler's ledger of a shop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from libs.common.db import Connection

SHOP = """
SELECT r.shop, r.since, r.due_at, r.ended_at, r.checked_at, r.proven_until, r.denied, r.families, r.error,
       coalesce(r.leased_until > now(), false) AS checking, s.ended_at IS NULL AS installed
FROM webhooks.reconciled_shops AS r JOIN webhooks.subscription_shops AS s USING (shop) WHERE r.shop = $1
"""
HOURS = """
SELECT family, hour, until, at_shopify, arrived, reconciled, missing, checked_at FROM webhooks.reconciled_hours
WHERE shop = $1 AND hour >= $2 AND hour < $3 ORDER BY hour, family
"""
FED = """
SELECT family, resource_id, updated_at, topic, found_at, message_id, problem, late_at,
       EXISTS (SELECT FROM webhooks.arrivals AS a WHERE a.shop = r.shop AND a.family = r.family
               AND a.resource_id = r.resource_id AND a.updated_at > r.updated_at OFFSET 0) AS overtaken
FROM webhooks.reconciled AS r
WHERE shop = $1 AND updated_at >= $2 AND updated_at < $3 ORDER BY updated_at, family, resource_id, topic LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What the ledger says of a shop."""

    shop: asyncpg.Record
    hours: Sequence[asyncpg.Record]
    fed: Sequence[asyncpg.Record]


async def state(conn: Connection, shop: str) -> asyncpg.Record | None:
    """How it stands with the shop's runs; None for a shop that is not compared."""
    return await conn.fetchrow(SHOP, shop)


async def page(conn: Connection, shop: str, since: datetime, until: datetime, limit: int) -> Page | None:
    """The ledger of these hours; None for a shop that is not compared."""
    row = await state(conn, shop)
    if row is None:
        return None
    hours = await conn.fetch(HOURS, shop, since, until)
    return Page(row, hours, await conn.fetch(FED, shop, since, until, limit))
