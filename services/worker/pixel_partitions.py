"""Keeps a partition of pixel events for each day: made ahead, dropped when the retention is over."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from services.worker import metrics
from services.worker import pixel_partitions_store as store

BEHIND, AHEAD = timedelta(days=2), timedelta(days=3)  # days that have a partition, seen from today
_EVERY_SECONDS = 600.0
_SOON_SECONDS = 5.0
_BATCH = 1_000
_COUNTED = 1_000_000

_log = logs.logger("pixels")


@dataclass(frozen=True, slots=True)
class Partitions:
    """Sees to the partitions for as long as a worker runs. Any number of them may; one at a time does it."""

    pool: asyncpg.Pool
    clock: Clock
    timeout: float
    days: int  # for which events are kept

    async def run(self) -> None:
        """At once, and every ten minutes from then on, until cancelled."""
        while True:
            done = await self._tried()
            await self.clock.sleep(_EVERY_SECONDS * random.uniform(0.8, 1.2) if done else _SOON_SECONDS)

    async def keep(self) -> bool:
        """Makes what is missing and drops what is over; returns whether all of it was done."""
        today = self.clock.now().date()
        async with self._open() as conn, conn.transaction():
            known = await store.partitions(conn)
        wanted = [today + timedelta(days=n) for n in range(-BEHIND.days, AHEAD.days + 1)]
        missing = [day for day in wanted if day not in known]
        over = [day for day in known if day < today - timedelta(days=self.days)]
        made = [await self._one(store.make, day, "made") for day in missing]
        dropped = [await self._one(store.drop, day, "dropped") for day in over]
        await self._tidy_default()
        return all(made) and all(dropped)

    async def _tried(self) -> bool:
        try:
            return await self.keep()
        except DatabaseAway:
            return False
        except asyncpg.PostgresError:  # such as a right that is missing: told, and no reason to stop working
            _log.exception("The partitions of pixel events could not be kept.")
            return False

    async def _one(self, work: Callable[[Connection, date], Awaitable[None]], day: date, what: str) -> bool:
        try:
            async with self._open() as conn, conn.transaction():
                if not await store.take_turn(conn):
                    return False
                if (day in await store.partitions(conn)) == (what == "made"):
                    return True  # another worker was faster
                await work(conn, day)
        except DatabaseAway as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            metrics.PIXEL_PARTITIONS.labels("left").inc()
            return False
        metrics.PIXEL_PARTITIONS.labels(what).inc()
        return True

    async def _tidy_default(self) -> None:
        before = self.clock.now() - timedelta(days=self.days)
        async with self._open() as conn:
            while await store.forget_default(conn, before, _BATCH) == _BATCH:
                pass
            metrics.PIXEL_UNPLACED.set(await store.count_default(conn, _COUNTED))

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Connection]:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                yield conn
