"""The clock that a simulated process sees: time passes with the loop, and the wall clock may be wrong."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.simulation.loop import SimLoop

BEGINNING = datetime(2026, 11, 27, 12, tzinfo=UTC)


class SimClock:
    """`offset` is how many seconds this wall clock is ahead; it may change while the simulation runs."""

    def __init__(self, loop: SimLoop, offset: float = 0.0) -> None:
        self._loop = loop
        self.offset = offset

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self._loop.time() + self.offset)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
