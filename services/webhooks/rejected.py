"""The log of rejected requests: written beside the request, never in it, so that a flood costs no query each."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg

from libs.common import logs
from libs.common.clock import Clock, SystemClock
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from services.webhooks import metrics, store
from services.webhooks.store import Rejection

WAITING = 1_000  # rejections in memory; beyond it the oldest are only counted
GATHER_SECONDS = 0.5
AWAY_SECONDS = 2.0
FORGET_BATCH = 5_000

P = ParamSpec("P")
T = TypeVar("T")

_log = logs.logger("webhooks")


class RejectedLog:
    """Gathers rejections in memory and writes them in batches; the table keeps the last `keep` of them."""

    def __init__(
        self, pool: asyncpg.Pool, *, keep: int, days: int, timeout: float, clock: Clock | None = None
    ) -> None:
        self._pool = pool
        self._keep, self._days, self._timeout = keep, days, timeout
        self._clock = clock or SystemClock()
        self._waiting: deque[Rejection] = deque()
        self._some = asyncio.Event()

    def add(self, rejection: Rejection) -> None:
        """Takes a rejection; returns at once."""
        self._waiting.append(rejection)
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            metrics.REJECTED_UNLOGGED.inc()
        self._some.set()

    async def run(self) -> None:
        """Writes what was added, until cancelled."""
        while True:
            await self._some.wait()
            await self._clock.sleep(GATHER_SECONDS)
            while not await self.flush():
                await self._clock.sleep(AWAY_SECONDS)

    async def flush(self) -> bool:
        """Writes what waits; False, with nothing lost, if Postgres is away."""
        batch = list(self._waiting)
        self._some.clear()
        if not batch:
            return True
        try:
            await self._do(store.keep_rejections, batch)
        except DatabaseAway:
            self._some.set()
            return False
        except Exception:  # noqa: BLE001 - the same batch would be refused again, and this loop has to live
            _log.exception("Rejected requests could not be logged.", rejections=len(batch))
            metrics.REJECTED_UNLOGGED.inc(len(batch))
        self._drop(batch)
        await self._forget()
        return True

    def _drop(self, batch: list[Rejection]) -> None:
        """Takes the written ones out; some may have been pushed out meanwhile."""
        written = set(map(id, batch))
        while self._waiting and id(self._waiting[0]) in written:
            self._waiting.popleft()

    async def _forget(self) -> None:
        try:
            forgotten = FORGET_BATCH
            while forgotten == FORGET_BATCH:
                forgotten = await self._do(store.forget_rejections, self._keep, self._days, FORGET_BATCH)
        except DatabaseAway:
            _log.info("Old rejected requests stay until the database is back.")

    async def _do(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                return await work(conn, *args, **kwargs)


@asynccontextmanager
async def open_rejected_log(
    pool: asyncpg.Pool, *, keep: int, days: int, timeout: float
) -> AsyncIterator[RejectedLog]:
    """A log that is written until the block ends, and once more then."""
    log = RejectedLog(pool, keep=keep, days=days, timeout=timeout)
    task = asyncio.create_task(log.run(), name="log of rejected requests")
    try:
        yield log
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await log.flush()
