"""Deletes what is older than the retention: payloads, and with them the traces of how their work ended.

What still waits for work is kept however old it is. What failed is kept as long as what succeeded, counted from its
failure, and is deleted with a warning: nobody replayed it in all that time.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named, is_lost
from libs.common.errors import DatabaseAway
from libs.common.ids import id_floor
from libs.common.outbox import metrics, retention_store

_log = structlog.get_logger(__name__)

EVERY_SECONDS = 300.0
BATCH = 500  # messages one transaction deletes, a few milliseconds' work
_ACQUIRE_SECONDS = 10.0
_FIRST_ID = UUID(int=0)


@dataclass(slots=True)
class Expired:
    """How much was deleted."""

    payloads: int = 0
    history: int = 0
    failed: int = 0

    def add(self, other: "Expired") -> None:
        self.payloads += other.payloads
        self.history += other.history
        self.failed += other.failed


async def retention_loop(
    pool: asyncpg.Pool, sources: Sequence[str], consumers: Sequence[str], days: int, clock: Clock
) -> None:
    """Deletes every few minutes until cancelled. Any number of processes may run it; one at a time does the work."""
    wait = random.uniform(5, 60)
    while True:
        await clock.sleep(wait)
        wait = EVERY_SECONDS * random.uniform(0.8, 1.2)
        try:
            await expire(pool, sources, consumers, days, clock)
        except DatabaseAway:
            _log.info("Nothing is deleted while Postgres is away.")
        except asyncpg.PostgresError:  # refused, but no reason to stop working on messages
            _log.exception("Old messages could not be deleted.")


async def expire(
    pool: asyncpg.Pool, sources: Sequence[str], consumers: Sequence[str], days: int, clock: Clock
) -> Expired:
    """Deletes all that is older than `days`, unless another process is at it; raises `DatabaseAway`."""
    cutoff, total = clock.now() - timedelta(days=days), Expired()
    async with connection(pool, _ACQUIRE_SECONDS) as conn:
        with database_away_named():
            async with _turn(conn) as ours:
                for source in sources if ours else ():
                    expired = await _Sweep(conn, source, consumers, cutoff, clock).run()
                    _tell(source, expired)
                    total.add(expired)
    return total


@asynccontextmanager
async def _turn(conn: Connection) -> AsyncIterator[bool]:
    ours = await retention_store.try_lock(conn)
    try:
        yield ours
    finally:
        if ours and not is_lost(conn):
            await retention_store.unlock(conn)


@dataclass(frozen=True, slots=True)
class _Sweep:
    """One pass over what a source made before the cutoff, in short transactions with a rest after each."""

    conn: Connection
    source: str
    consumers: Sequence[str]
    cutoff: datetime
    clock: Clock

    async def run(self) -> Expired:
        total = Expired()
        for consumer in self.consumers:
            total.history += await self._traces(total, consumer, retention_store.EXPIRE_DONE)
            total.failed += await self._traces(total, consumer, retention_store.EXPIRE_FAILED)
        await self._leftovers(total)
        return total

    async def _traces(self, total: Expired, consumer: str, statement: str) -> int:
        """Deletes one kind of trace, and the payloads that nothing refers to then; returns how many traces."""
        after, traces, full = _FIRST_ID, 0, True
        while full:
            started = self.clock.monotonic()
            async with self.conn.transaction():
                ids = await retention_store.expire(
                    self.conn, statement, self.source, consumer,
                    after=after, floor=id_floor(self.cutoff), cutoff=self.cutoff, limit=BATCH,
                )  # fmt: skip
                total.payloads += await retention_store.forget(self.conn, self.source, self.consumers, ids)
            traces += len(ids)
            after, full = max(ids, default=after), len(ids) == BATCH
            await self._rest(started)
        return traces

    async def _leftovers(self, total: Expired) -> None:
        """Deletes payloads without any trace, such as those that went to other programs' queues only."""
        after, full = _FIRST_ID, True
        while full:
            started = self.clock.monotonic()
            ids = await retention_store.old_messages(
                self.conn, self.source, after=after, floor=id_floor(self.cutoff), limit=BATCH
            )
            total.payloads += await retention_store.forget(self.conn, self.source, self.consumers, ids)
            after, full = max(ids, default=after), len(ids) == BATCH
            await self._rest(started)

    async def _rest(self, started: float) -> None:
        """As long as the work took, so that at most half of one connection's time goes into deleting."""
        await self.clock.sleep(self.clock.monotonic() - started)


def _tell(source: str, expired: Expired) -> None:
    for kind, number in asdict(expired).items():
        metrics.EXPIRED.labels(source, kind).inc(number)
    if expired.failed:
        _log.warning(
            "Failed messages were deleted: nobody replayed them within the retention.",
            service=source, messages=expired.failed,
        )  # fmt: skip
    if expired.payloads:
        _log.info("Old messages were deleted.", service=source, **asdict(expired))
