"""What handlers did, as the database knows it: how many rows, how fast, how late, and none twice."""

import asyncio
import time

import asyncpg

TABLE = """
CREATE TABLE worker.bench_rows (
    message_id text NOT NULL,                      -- without a key: a doubled effect shows
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

_COUNT = "SELECT count(*) FROM worker.bench_rows"
_LEFT = "SELECT EXISTS (SELECT FROM webhooks.outbox)"
_ACCEPTED = "SELECT count(*) FROM webhooks.messages"
_DOUBLED = "SELECT count(*) - count(DISTINCT message_id) FROM worker.bench_rows"
_EMPTY = "TRUNCATE worker.bench_rows"

# The first and the last tenth are the start and the end of a side's turn, and not its pace.
_PACE = """
SELECT 0.8 * count(*) / extract(epoch FROM percentile_disc(0.9) WITHIN GROUP (ORDER BY at)
                                         - percentile_disc(0.1) WITHIN GROUP (ORDER BY at))::float8
FROM worker.bench_rows
"""
_SPAN = "SELECT extract(epoch FROM max(at))::float8 FROM worker.bench_rows"

# From the commit that accepted a message to the commit of its handler.
_LATENCIES = """
SELECT m.shop, 1000 * extract(epoch FROM pg_xact_commit_timestamp(r.xmin) - pg_xact_commit_timestamp(m.xmin))::float8
FROM worker.bench_rows AS r JOIN webhooks.messages AS m ON m.id = r.message_id::uuid
WHERE m.shop LIKE $1
"""


class EffectsMissing(Exception):
    """Work was lost, done twice, or not done in time: the figures say nothing."""


class Effects:
    """The table that every benchmark's handler writes to."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self._conn = conn

    async def count(self) -> int:
        number: int = await self._conn.fetchval(_COUNT)
        return number

    async def wait(self, number: int, *, within: float = 300.0) -> None:
        """Returns when so many rows are there; raises `EffectsMissing` if that takes too long or there are doubles."""
        until = time.monotonic() + within
        while (there := await self.count()) < number:
            if time.monotonic() > until:
                raise EffectsMissing(f"{there} of {number} effects after {within:g} s")
            await asyncio.sleep(0.1)
        await self._none_doubled()

    async def settled(self, *, within: float = 300.0) -> int:
        """Returns how many messages there were, once nothing is left to do; raises unless each had its effect once."""
        until = time.monotonic() + within
        while await self._conn.fetchval(_LEFT):
            if time.monotonic() > until:
                raise EffectsMissing(f"messages were left after {within:g} s")
            await asyncio.sleep(0.1)
        accepted: int = await self._conn.fetchval(_ACCEPTED)
        if (there := await self.count()) != accepted:
            raise EffectsMissing(f"{there} effects of {accepted} messages")
        await self._none_doubled()
        return accepted

    async def _none_doubled(self) -> None:
        if doubled := await self._conn.fetchval(_DOUBLED):
            raise EffectsMissing(f"{doubled} effects were there twice")

    async def pace(self) -> float:
        """Rows per second, without the start and the end."""
        rate: float = await self._conn.fetchval(_PACE)
        return rate

    async def last(self) -> float:
        """When the last row was written, in seconds since 1970."""
        at: float = await self._conn.fetchval(_SPAN)
        return at

    async def latencies(self, shops: str = "%") -> list[float]:
        """Milliseconds from the commit that accepted a message to its handler's, for shops LIKE the pattern."""
        return [row[1] for row in await self._conn.fetch(_LATENCIES, shops)]

    async def empty(self) -> None:
        await self._conn.execute(_EMPTY)
