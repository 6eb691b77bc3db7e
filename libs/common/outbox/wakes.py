"""Telling consumers that work is ready: NOTIFY off the write path, coalesced, and never the only way (they poll).

A NOTIFY inside the accepting transaction would take a cluster-wide lock at each commit. So it is sent after the
commit, at once when nothing was sent lately, and gathered for `gap` seconds when something was.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from libs.common.contracts.topology import Lane
from libs.common.db import connection, is_away
from libs.common.outbox import metrics, put_store

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wake:
    """Work is ready in a source's lane, from the id `first` on."""

    source: str
    lane: Lane
    first: UUID

    def payload(self) -> str:
        return f"{self.source} {self.lane.value} {self.first.hex}"

    @classmethod
    def parse(cls, payload: str) -> "Wake":
        """Raises `ValueError` for anything that `payload` did not write."""
        source, lane, first = payload.split(" ")
        return cls(source, Lane(lane), UUID(hex=first))


def channel(destination: str) -> str:
    """The NOTIFY channel on which a consumer listens."""
    return f"shopbus_{destination}"


class Notifier:
    """Sends wake-ups for one source."""

    def __init__(
        self, pool: asyncpg.Pool, source: str, *, gap_seconds: float = 0.01, timeout: float = 3.0
    ) -> None:
        self._pool = pool
        self._source = source
        self._gap = gap_seconds
        self._timeout = timeout
        self._waiting: dict[tuple[str, Lane], UUID] = {}
        self._some = asyncio.Event()

    def ready(self, destination: str, lane: Lane, first: UUID) -> None:
        """Work is ready for a destination; returns at once."""
        earlier = self._waiting.get((destination, lane))
        self._waiting[destination, lane] = first if earlier is None else min(first, earlier)
        self._some.set()

    async def run(self) -> None:
        """Sends what was reported, until cancelled."""
        while True:
            await self._some.wait()
            await self.flush()
            await asyncio.sleep(self._gap)

    async def flush(self) -> None:
        """Sends what was reported so far. A failure is counted and left to the consumers' polling."""
        self._some.clear()
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        wakes = [
            (channel(name), Wake(self._source, lane, first).payload())
            for (name, lane), first in waiting.items()
        ]
        try:
            async with connection(self._pool, self._timeout) as conn:
                await put_store.notify(conn, wakes)
        except Exception as error:
            if not is_away(error):
                raise
            metrics.NOTIFY_FAILURES.labels(self._source).inc(len(wakes))
            _log.warning(
                "Consumers could not be woken; they will find the work by polling.",
                error=type(error).__name__,
            )
