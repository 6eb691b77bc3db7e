"""A clock that tests turn by hand."""

import asyncio
from datetime import UTC, datetime, timedelta


class TurnedClock:
    """Stands still until it is turned; its sleeps end at once and turn it."""

    def __init__(self, start: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> None:
        self._start = start
        self.seconds = 0.0

    def turn(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.turn(seconds)
        await asyncio.sleep(0)
