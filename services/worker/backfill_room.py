"""Whether the handlers of a job's messages keep up.

Reading pauses while they are behind, and gives its turn back where that lasts: else some shops whose handlers are stuck
would keep all others from having one.
"""

from dataclasses import dataclass, field
from uuid import UUID

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from libs.common.outbox.claim_store import FIRST_ID
from services.worker import backfill_room_store, metrics
from services.worker.backfill_store import Backfill
from services.worker.service import Books

LOOKED_AT = 10  # times the messages that may wait: so many of the bulk lane, and of what is put off
_SWEEP_SECONDS = 10.0
_PAUSES = (0.25, 0.5, 1.0, 2.0)  # seconds


class Behind(ShopbusError):
    """Too many of the job's messages wait."""

    def __init__(self) -> None:
        super().__init__("its handlers are behind, or other work of the bulk lane is")


@dataclass(slots=True)
class _Spot:
    """Where the bulk lane begins, for all jobs of a process: before it are rows that were worked on."""

    hint: UUID = FIRST_ID
    next_sweep: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """Looks for every job of a process."""

    books: Books
    clock: Clock
    most_waiting: int  # messages of one job
    _spot: _Spot = field(default_factory=_Spot)

    async def check(self, held: Backfill) -> None:
        """Raises `Behind`."""
        if not await self._is_there(held):
            raise Behind

    async def wait(self, held: Backfill) -> None:
        """Stands still for some seconds where that helps; raises `Behind`."""
        if await self._is_there(held):
            return
        metrics.BACKFILL_PAUSES.inc()
        for pause in _PAUSES:
            await self.clock.sleep(pause)
            if await self._is_there(held):
                return
        raise Behind

    async def _is_there(self, held: Backfill) -> bool:
        since = self._since()
        async with self.books.open() as conn:
            found = await backfill_room_store.waiting(
                conn, held.id, LOOKED_AT * self.most_waiting, since=since
            )
        if found.first is not None:
            self._spot.hint = found.first
        if found.number >= self.most_waiting:
            return False
        # Others' handlers may be stuck for long: one pack at a time then, so that each job has its turn.
        return not (found.crowded and found.newest_waits)

    def _since(self) -> UUID:
        """Now and then from the start: what was put off comes back to the lane with the id it had."""
        if self.clock.monotonic() < self._spot.next_sweep:
            return self._spot.hint
        self._spot.next_sweep = self.clock.monotonic() + _SWEEP_SECONDS
        return FIRST_ID
