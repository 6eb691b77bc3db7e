"""Which versions of the pixel send events, and when they last did: gathered in memory and written now and then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from services.ingest import extensions_store, metrics
from services.ingest.extensions_store import Sighting

UNKNOWN = ""  # the version of a pixel that does not say it
_WAITING = 10_000  # shops and versions in memory
_GATHER_SECONDS = 2.0

_log = logs.logger("ingest")


@dataclass(slots=True)
class _Seen:
    first: datetime
    last: datetime
    events: int


class Sightings:
    """Counts events by shop and version. What a crash takes with it is a few seconds of counting, and no event."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, timeout: float) -> None:
        self._pool, self._clock, self._timeout = pool, clock, timeout
        self._waiting: dict[tuple[str, str], _Seen] = {}
        self._some = asyncio.Event()

    def saw(self, shop: str, version: str | None, events: int, at: datetime) -> None:
        """Notes events of a shop; returns at once."""
        key = shop, version or UNKNOWN
        seen = self._waiting.get(key)
        if seen is not None:
            seen.last, seen.events = at, seen.events + events
        elif len(self._waiting) < _WAITING:
            self._waiting[key] = _Seen(at, at, events)
        else:
            metrics.VERSIONS_UNSEEN.inc()
        self._some.set()

    async def run(self) -> None:
        """Writes what was seen, until cancelled."""
        while True:
            await self._some.wait()
            await self._clock.sleep(_GATHER_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what was seen; keeps it, if Postgres is away."""
        waiting, self._waiting = self._waiting, {}
        self._some.clear()
        rows = [Sighting(*key, seen.first, seen.last, seen.events) for key, seen in sorted(waiting.items())]
        if not rows:
            return
        try:
            async with connection(self._pool, self._timeout) as conn:
                with database_away_named():
                    await extensions_store.saw(conn, rows)
        except DatabaseAway:
            for row in rows:
                self.saw(row.shop, row.version, row.events, row.last_seen)


@asynccontextmanager
async def open_sightings(pool: asyncpg.Pool, clock: Clock, timeout: float) -> AsyncIterator[Sightings]:
    """Sightings that are written once more when the block ends."""
    sightings = Sightings(pool, clock, timeout)
    try:
        yield sightings
    finally:
        await sightings.flush()
