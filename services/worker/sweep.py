"""What waits for an install that is over is cancelled, where its handler says that it needs the install.

An uninstall may come late, after work of a fresh install. What belongs to the dead one is told by time: what happened
up to the uninstall. Critical work (compliance, lifecycle) is done whatever happens to an install. Its backfills end.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.contracts.topology import SOURCES, Lane
from libs.common.db import Connection, connection, database_away_named
from libs.common.outbox import cancel_store
from libs.common.outbox.cancel_store import NEVER_STARTED, Pointless, Waiting
from libs.common.outbox.claim_store import FIRST_ID
from libs.common.outbox.end_store import Attempt
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime.handlers import Registry
from libs.common.runtime.outcomes import Later
from services.worker import backfill_store, metrics

CONSUMER = "worker"
LANES = tuple(lane for lane in Lane if lane is not Lane.CRITICAL)
WINDOW = 1_000  # rows looked at in one statement
BATCH = 500  # messages that one transaction ends
MOST = 50_000  # messages of one look; the next one finds the others

CLOCKS_DIFFER = timedelta(seconds=5)
"""A webhook's time is by Shopify's clock, as the uninstall's is. What handlers emitted has a time by ours."""

_AGAIN_SECONDS = 10.0
_BUSY_SECONDS = 5.0

_log = logs.logger("worker")


@dataclass(frozen=True, slots=True)
class EndedInstall:
    """Which install of which shop is over, and since when."""

    shop: str
    generation: int
    uninstalled_at: datetime

    def had(self, work: Waiting) -> bool:
        """Whether this is work of that install, and not of one that may have followed."""
        leeway = timedelta(0) if work.type.startswith("webhook.") else CLOCKS_DIFFER
        return work.time <= self.uninstalled_at - leeway

    def __str__(self) -> str:
        at = self.uninstalled_at.isoformat(timespec="seconds")
        return f"{NEVER_STARTED}{self.shop} removed the app at {at} (install {self.generation})"


@dataclass(slots=True)
class Swept:
    """What became of the work that was found."""

    cancelled: int = 0
    held: int = 0  # by a consumer or by RabbitMQ: left to it, and looked for again


class Sweep:
    """Looks through what waits, and ends what is pointless in short transactions. One look at a time in a process."""

    def __init__(
        self, pool: asyncpg.Pool, registry: Registry, clock: Clock, *, timeout: float, faults: FaultPoints
    ) -> None:
        self._pool, self._registry, self._clock = pool, registry, clock
        self._timeout, self._faults = timeout, faults
        self._turn = asyncio.Lock()

    async def cancel(self, install: EndedInstall) -> None:
        """Cancels what waits for an install.

        Raises `Later` until it finds nothing any more, waiting or in somebody's hand. Broken off, it begins anew: what
        it had cancelled is not there any more.
        """
        await self._end_backfills(install)
        if self._turn.locked():  # a slow look may not take all of a worker's places
            raise Later(_BUSY_SECONDS, "the work of another shop is being cancelled")
        swept = Swept()
        async with self._turn:
            for source in SOURCES:
                await self._sweep(install, source, swept)
        if swept.cancelled:
            _log.info(
                "Work that waited for a removed app was cancelled.",
                shop=install.shop, generation=install.generation, messages=swept.cancelled,
            )  # fmt: skip
        if swept.cancelled or swept.held:
            raise Later(_AGAIN_SECONDS, f"{swept.cancelled} cancelled, {swept.held} in somebody's hand")

    async def _end_backfills(self, install: EndedInstall) -> None:
        """Who reads a file asks Shopify nothing, and would not find out."""
        at = install.uninstalled_at.isoformat(timespec="seconds")
        reason = f"the shop removed the app at {at}"
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                await backfill_store.cancel_shop(conn, install.shop, install.uninstalled_at, reason)

    async def _sweep(self, install: EndedInstall, source: str, swept: Swept) -> None:
        work = await self._look(install, source)
        swept.held += sum(one.held for one in work)
        places: dict[tuple[bool, Lane], list[Pointless]] = {}
        for one, end in work.items():
            if not one.held:
                places.setdefault((one.scheduled, one.lane), []).append(end)
        for (is_scheduled, lane), ends in places.items():
            for start in range(0, len(ends), BATCH):
                batch = ends[start : start + BATCH]
                gone = await self._end(install, source, None if is_scheduled else lane, batch)
                swept.cancelled += gone
                swept.held += len(batch) - gone  # somebody was faster

    async def _look(self, install: EndedInstall, source: str) -> dict[Waiting, Pointless]:
        """What there is, in one snapshot: else a message that moves meanwhile might be seen in no place."""
        found: dict[Waiting, Pointless] = {}
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                async with conn.transaction(isolation="repeatable_read", readonly=True):
                    for lane in (None, *LANES):
                        await self._look_at(conn, install, source, lane, found)
        return found

    async def _look_at(
        self, conn: Connection, install: EndedInstall, source: str, lane: Lane | None,
        found: dict[Waiting, Pointless],
    ) -> None:  # fmt: skip
        """One lane of the outbox, or with None what waits for its time."""
        after: UUID | None = FIRST_ID
        while after is not None and len(found) < MOST:
            if lane is None:
                rows, after = await cancel_store.scheduled(
                    conn, source, CONSUMER, install.shop, after=after, limit=WINDOW
                )
            else:
                rows, after = await cancel_store.ready(
                    conn, source, CONSUMER, lane, install.shop, after=after, limit=WINDOW
                )
            for one in rows:
                handler = self._registry.find(one.type)
                if one.lane in LANES and handler and handler.needs_install and install.had(one):
                    found[one] = Pointless(one.id, one.type, handler.name)

    async def _end(
        self, install: EndedInstall, source: str, lane: Lane | None, ends: Sequence[Pointless]
    ) -> int:
        now = self._clock.now()
        why = Attempt(now, now, str(install), "postgres")
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                if lane is None:
                    gone = await cancel_store.cancel_scheduled(
                        conn, source, CONSUMER, install.shop, ends, why
                    )
                else:
                    gone = await cancel_store.cancel_ready(
                        conn, source, CONSUMER, lane, install.shop, ends, why
                    )
        for end in ends:
            if end.id in gone:
                metrics.SWEPT.labels(end.handler).inc()
        await self._faults.reach("some cancelled, not all")
        return len(gone)
