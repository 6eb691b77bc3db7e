"""Who waits for a shop's points, in the order in which they go: by lane, and in a lane as they came. No I/O."""

import asyncio
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from libs.common.shopify.admin.lanes import ApiLane

_numbers = count()


@dataclass(order=True, slots=True)
class Waiter:
    """A call that waits for points."""

    lane: ApiLane
    number: int = field(default_factory=lambda: next(_numbers), init=False)
    cost: float = field(compare=False)
    since: float = field(compare=False)
    until: float = field(compare=False)
    turn: "asyncio.Future[None]" = field(compare=False)

    @property
    def served(self) -> bool:
        """Whether it has its points."""
        return self.turn.done() and not self.turn.cancelled() and self.turn.exception() is None


class Line:
    """The waiting calls of one shop in one process."""

    def __init__(self) -> None:
        self._heap: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, waiter: Waiter) -> None:
        heappush(self._heap, waiter)

    @property
    def first(self) -> Waiter | None:
        """The next one; who has given up is left out."""
        while self._heap and self._heap[0].turn.done():
            heappop(self._heap)
        return self._heap[0] if self._heap else None

    def behind(self, first: Waiter, most: float) -> float:
        """Points for those of the same lane that wait behind it, up to `most`."""
        alike = (waiter.cost for waiter in self._heap if waiter.lane == first.lane and waiter is not first)
        return min(most, sum(alike))

    def before(self, lane: ApiLane) -> float:
        """Points that go to others before a newcomer of this lane has its turn."""
        return sum(waiter.cost for waiter in self._heap if waiter.lane <= lane and not waiter.turn.done())

    def fail(self, error: BaseException) -> None:
        """Sends everybody away."""
        for waiter in self._heap:
            if not waiter.turn.done():
                waiter.turn.set_exception(error)
