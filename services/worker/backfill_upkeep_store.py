"""SQL of what is told of all backfills together, and of forgetting those that ended long ago."""

import asyncpg

from libs.common.db import Connection

COUNTS = "SELECT status, count(*) AS number FROM worker.backfills WHERE ended_at IS NULL GROUP BY status"
STILL = """
SELECT coalesce(max(extract(epoch FROM now() - moved_at)), 0)::float8 FROM worker.backfills WHERE ended_at IS NULL
"""
PURGE = "DELETE FROM worker.backfills WHERE ended_at < now() - make_interval(days => $1)"


async def counts(conn: Connection) -> list[asyncpg.Record]:
    """How many open jobs there are, by status."""
    return await conn.fetch(COUNTS)


async def still(conn: Connection) -> float:
    """Seconds for which the open job that has stood still longest has come no further."""
    seconds: float = await conn.fetchval(STILL)
    return seconds


async def purge(conn: Connection, days: int) -> None:
    """Deletes what ended so long ago."""
    await conn.execute(PURGE, days)
