"""Rows of the reconciler about shops and people, for the tests of erasure."""

from datetime import UTC, datetime, timedelta
from typing import Any

_SHOP = """
INSERT INTO webhooks.reconciled_shops (shop, generation, known_at, since, due_at)
VALUES ($1, 1, $2, $2, now() + interval '1 day')
"""
_HOUR = """
INSERT INTO webhooks.reconciled_hours VALUES ($1, 'orders', $2, $2, 1, 0, 1, 0, $2)
"""
_ARRIVAL = """
INSERT INTO webhooks.arrivals (shop, family, resource_id, updated_at, topics) VALUES ($1, $2, $3, $4, '{}')
"""
_FED = """
INSERT INTO webhooks.reconciled (shop, family, resource_id, updated_at, topic) VALUES ($1, $2, $3, $4, 'a/b')
"""


async def fill_shops_ledger(conn: Any, shop: str) -> None:
    """A shop that was compared."""
    at = datetime.now(UTC) - timedelta(days=9)
    await conn.execute(_SHOP, shop, at)
    await conn.execute(_HOUR, shop, at)


async def fill_ledger(conn: Any, shop: str, customer: int, order: int) -> None:
    """A customer and an order that came, and did not."""
    at = datetime.now(UTC) - timedelta(days=9)
    for family, number in (("customers", customer), ("orders", order)):
        await conn.execute(_ARRIVAL, shop, family, number, at)
        await conn.execute(_FED, shop, family, number, at)
