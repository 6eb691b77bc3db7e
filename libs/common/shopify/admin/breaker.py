"""Leaves a shop alone whose API keeps failing, and tries it again one call at a time. No I/O.

5 failures in a row     hold 5 s, and after each trial that fails twice as long, at most 120 s
a call that works       forgets all of it
"""

from dataclasses import dataclass

from cachetools import LRUCache

from libs.common.clock import Clock
from libs.common.shopify.admin import metrics
from libs.common.shopify.admin.errors import CircuitOpen

FAILURES = 5
FIRST_HOLD = 5.0  # seconds
LONGEST_HOLD = 120.0
_TRIAL_SECONDS = 30.0  # after which a trial that nobody has heard of again does not keep others out


@dataclass(slots=True)
class _Ailing:
    failures: int = 0
    hold: float = 0.0
    until: float = float("-inf")
    why: str = "its API kept failing"


class Breakers:
    """The shops that are failing; those that work take no room."""

    def __init__(self, clock: Clock, size: int = 10_000) -> None:
        self._clock = clock
        self._ailing: LRUCache[str, _Ailing] = LRUCache(size)

    def admit(self, shop: str) -> None:
        """Raises `CircuitOpen` while the shop is left alone. After that one call goes through and decides."""
        ailing: _Ailing | None = self._ailing.get(shop)
        if ailing is None or not ailing.hold:
            return
        now = self._clock.monotonic()
        if now < ailing.until:
            raise CircuitOpen(
                ailing.until - now, f"{shop} is left alone for {ailing.until - now:.0f} s: {ailing.why}"
            )
        ailing.until, ailing.why = now + _TRIAL_SECONDS, "one call is finding out whether its API works again"

    def unused(self, shop: str) -> None:
        """A call that was let through was not made after all: the next one may."""
        ailing: _Ailing | None = self._ailing.get(shop)
        if ailing is not None and ailing.hold:
            ailing.until = self._clock.monotonic()

    def worked(self, shop: str) -> None:
        self._ailing.pop(shop, None)

    def failed(self, shop: str, why: str) -> None:
        """Nothing or nonsense came back."""
        ailing = self._ailing.setdefault(shop, _Ailing())
        ailing.failures += 1
        if ailing.failures >= FAILURES:
            self._hold(ailing, min(LONGEST_HOLD, ailing.hold * 2 or FIRST_HOLD), why)

    def hold(self, shop: str, seconds: float, why: str) -> None:
        """Leaves the shop alone at once."""
        self._hold(self._ailing.setdefault(shop, _Ailing()), seconds, why)

    def _hold(self, ailing: _Ailing, seconds: float, why: str) -> None:
        ailing.hold, ailing.until, ailing.why = seconds, self._clock.monotonic() + seconds, why
        metrics.CIRCUITS_OPENED.inc()
