"""The limits of the REST Admin API, for apps that still call it (SHOPIFY 6.5). No I/O.

A shop's bucket holds `size` calls and leaks some per second: 2 on most plans, 4 on Advanced, 20 on Plus. An answer says
how full it is: `X-Shopify-Shop-Api-Call-Limit: 32/40`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from libs.common.shopify.token_answers import retry_after

CALL_LIMIT = "X-Shopify-Shop-Api-Call-Limit"
SIZE, LEAK = 40, 2.0
_LIMIT = re.compile(r"([0-9]{1,6})/([1-9][0-9]{0,5})", re.ASCII)
_TOO_MANY = 429
_SOON = 2.0  # seconds, where a 429 names no time


@dataclass(frozen=True, slots=True)
class CallLimit:
    """How full a shop's bucket is, in calls."""

    used: int
    size: int


def read_call_limit(headers: Mapping[str, str]) -> CallLimit | None:
    """What an answer says; None where it says nothing that can be read."""
    found = _LIMIT.fullmatch(headers.get(CALL_LIMIT, "").strip())
    return CallLimit(int(found[1]), int(found[2])) if found else None


class LeakyBucket:
    """One shop's REST calls from one process. Times are seconds of a monotonic clock."""

    def __init__(self, now: float, *, size: int = SIZE, leak: float = LEAK) -> None:
        self._size, self._leak = size, leak
        self._used, self._at, self._closed_until = 0.0, now, now

    def wait(self, now: float) -> float:
        """Takes a place for one call; returns after how many seconds it may be sent."""
        self._drain(now)
        self._used += 1
        full = (self._used - self._size) / self._leak
        return max(0.0, full, self._closed_until - now)

    def heard(self, status: int, headers: Mapping[str, str], now: float, at: datetime) -> None:
        """What an answer says of the bucket, into which others call too. `at` is the wall clock, for `Retry-After`."""
        self._drain(now)
        if (limit := read_call_limit(headers)) is not None:
            self._size, self._used = limit.size, max(self._used, float(limit.used))
        if status == _TOO_MANY:
            named = retry_after(headers, at)
            self._closed_until = now + (_SOON if named is None else named)

    def _drain(self, now: float) -> None:
        self._used = max(0.0, self._used - max(0.0, now - self._at) * self._leak)
        self._at = max(self._at, now)
