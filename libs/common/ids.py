"""UUIDv7 identifiers (RFC 9562 section 5.7): sortable by the millisecond they were made in."""

import os
import threading
from datetime import UTC, datetime
from uuid import UUID

from libs.common.clock import Clock, SystemClock

_COUNTER_BITS = 12
_COUNTER_LIMIT = 1 << _COUNTER_BITS


class IdFactory:
    """Makes UUIDv7s that strictly grow within one process, even when its clock steps back."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._last = 0  # milliseconds and counter of the newest id, as one number

    def new(self) -> UUID:
        millis = int(self._clock.now().timestamp() * 1000)
        with self._lock:
            self._last = max(self._last + 1, millis << _COUNTER_BITS)
            stamp = self._last
        millis, counter = stamp >> _COUNTER_BITS, stamp & (_COUNTER_LIMIT - 1)
        tail = int.from_bytes(os.urandom(8), "big") >> 2
        return UUID(int=(millis << 80) | (7 << 76) | (counter << 64) | (2 << 62) | tail)


def id_floor(moment: datetime) -> UUID:
    """The smallest UUIDv7 that could have been made at the given moment."""
    millis = max(0, int(moment.timestamp() * 1000))
    return UUID(int=(millis << 80) | (7 << 76) | (2 << 62))


def made_at(identifier: UUID) -> datetime:
    """The moment, to the millisecond, that a UUIDv7 carries."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)
