"""SQL of the worker's own tables; the protocol's is in libs/common/outbox, a handler's stands above the handler."""

from collections.abc import Sequence

from libs.common.contracts.topology import SOURCES
from libs.common.db import Connection

NEEDED = (
    *(f"{source}.{table}" for source in SOURCES for table in ("messages", "outbox")),
    *(
        f"worker.{table}"
        for table in (
            "scheduled",
            "failed",
            "history",
            "schedules",
            "orders",
            "privacy_cases",
            "pixel_events",
            "backfills",
        )
    ),
    "shopify.budgets",
)

MISSING_TABLES = """
SELECT coalesce(array_agg(name), '{}') FROM unnest($1::text[]) AS wanted(name) WHERE to_regclass(name) IS NULL
"""


async def missing_tables(conn: Connection, needed: Sequence[str] = NEEDED) -> list[str]:
    """Which tables the worker needs and does not find."""
    names: list[str] = await conn.fetchval(MISSING_TABLES, list(needed))
    return names
