"""Whether the handlers of a job's messages keep up.

Reading pauses while they are behind, and gives its turn back where that lasts: else some shops whose handlers are stuck
would keep all others from having one.
"""

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from services.worker import backfill_room_store, metrics
from services.worker.backfill_store import Backfill
from services.worker.service import Books

LOOKED_AT = 10  # times the messages that may wait: as far as the bulk lane is looked through
_PAUSES = (0.25, 0.5, 1.0, 2.0)  # seconds


class Behind(ShopbusError):
    """Too many of the job's messages wait."""

    def __init__(self) -> None:
        super().__init__("its handlers are behind, or other work of the bulk lane is")


@dataclass(frozen=True, slots=True)
class Room:
    """Looks for every job of a process."""

    books: Books
    clock: Clock
    most_waiting: int  # messages of one job

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
        async with self.books.open() as conn:
            waiting = await backfill_room_store.waiting(conn, held.id, LOOKED_AT * self.most_waiting)
        return waiting < self.most_waiting
