"""From which id on this producer's leases may still be alive, so that freeing them walks no more than those. No I/O.

It goes by the monotonic clock: a wall clock that was set forward must not hide leases that were given before.
"""

from collections import deque
from uuid import UUID

from libs.common.clock import Clock

_BUCKET_SECONDS = 1.0


class LeaseWindow:
    """The smallest id of each second in which leased rows were handed over."""

    def __init__(self, clock: Clock, *, lease_seconds: float) -> None:
        self._clock = clock
        self._kept_seconds = lease_seconds + 2 * _BUCKET_SECONDS
        self._buckets: deque[tuple[float, UUID]] = deque()

    def note(self, first: UUID) -> None:
        """Rows from this id on were leased just now."""
        now = self._clock.monotonic()
        if self._buckets and now - self._buckets[-1][0] < _BUCKET_SECONDS:
            began, smallest = self._buckets.pop()
            self._buckets.append((began, min(smallest, first)))
            return
        self._buckets.append((now, first))
        self._forget(now)

    def since(self) -> UUID | None:
        """The smallest id whose lease may be alive; None when there is none."""
        self._forget(self._clock.monotonic())
        return min((smallest for _, smallest in self._buckets), default=None)

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] > self._kept_seconds:
            self._buckets.popleft()
