"""UUIDv7 identifiers (RFC 9562 section 5.7): sortable by the millisecond they were made in."""

import os
import threading
from datetime import UTC, datetime
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as QuickUUID  # noqa: N811 - it is a class

from libs.common.clock import Clock, SystemClock

_COUNTER_BITS = 12
_COUNTER_LIMIT = 1 << _COUNTER_BITS
_TAIL_BITS = 62
_TAILS = 256  # drawn from the system at once: a call for each would cost as much as all the rest


class IdFactory:
    """Makes UUIDv7s that strictly grow within one process, even when its clock steps back.

    They are of asyncpg's own kind of UUID, which is made and sent in a fraction of the time.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._last = 0  # milliseconds and counter of the newest id, as one number
        self._tails: list[int] = []

    def new(self) -> UUID:
        return self.several(1)[0]

    def several(self, count: int) -> list[UUID]:
        """So many, in growing order."""
        millis = int(self._clock.now().timestamp() * 1000)
        with self._lock:
            first = max(self._last + 1, millis << _COUNTER_BITS)
            self._last = first + count - 1
            tails = [self._tails.pop() if self._tails else self._draw() for _ in range(count)]
        return [_made(stamp, tail) for stamp, tail in enumerate(tails, first)]

    def _draw(self) -> int:
        drawn = os.urandom(8 * _TAILS)
        shift = 64 - _TAIL_BITS
        self._tails = [int.from_bytes(drawn[at : at + 8], "big") >> shift for at in range(0, len(drawn), 8)]
        return self._tails.pop()


def _made(stamp: int, tail: int) -> UUID:
    """The id of a moment and counter in one number, and of random bits."""
    millis, counter = stamp >> _COUNTER_BITS, stamp & (_COUNTER_LIMIT - 1)
    number = (millis << 80) | (7 << 76) | (counter << 64) | (2 << _TAIL_BITS) | tail
    return QuickUUID(number.to_bytes(16, "big"))


def id_floor(moment: datetime) -> UUID:
    """The smallest UUIDv7 that could have been made at the given moment."""
    millis = max(0, int(moment.timestamp() * 1000))
    return UUID(int=(millis << 80) | (7 << 76) | (2 << 62))


def made_at(identifier: UUID) -> datetime:
    """The moment, to the millisecond, that a UUIDv7 carries."""
    return datetime.fromtimestamp(made_at_seconds(identifier), UTC)


def made_at_seconds(identifier: UUID) -> float:
    """The same in seconds since 1970."""
    return int.from_bytes(identifier.bytes[:6], "big") / 1000
