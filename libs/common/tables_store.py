"""Whether the tables that a service needs are there."""

from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway

MISSING_TABLES = """
SELECT coalesce(array_agg(name), '{}') FROM unnest($1::text[]) AS wanted(name) WHERE to_regclass(name) IS NULL
"""


async def missing_tables(conn: Connection, needed: Sequence[str]) -> list[str]:
    """Which of these tables, named with their schemas, Postgres does not have."""
    names: list[str] = await conn.fetchval(MISSING_TABLES, list(needed))
    return names


def tables_check(
    pool: asyncpg.Pool, timeout: float, needed: Sequence[str]
) -> Callable[[], Awaitable[str | None]]:
    """A check for `/readyz`: None while Postgres answers and has the tables, else what is wrong, in words."""

    async def check() -> str | None:
        try:
            async with connection(pool, timeout) as conn:
                with database_away_named():
                    missing = await _asked(conn, needed)
        except DatabaseAway:
            return "the database is away"
        return f"{', '.join(missing)} missing; run: shopbus migrate" if missing else None

    return check


async def _asked(conn: Connection, needed: Sequence[str]) -> list[str]:
    try:
        return await missing_tables(conn, needed)
    except TimeoutError:
        conn.terminate()  # a silent server would be waited for once more, for its word that it has stopped
        raise
