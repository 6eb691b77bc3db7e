"""A process's own small part of each shop's points, for as long as it cannot ask what the others use."""

from cachetools import LRUCache

from libs.common.clock import Clock
from libs.common.shopify.admin.budget import UNKNOWN, Ask, Lease, Level, lease

SHARE = 0.1  # of the rate and the bucket: ten processes together are still within it
_SHOPS = 10_000


class Alone:
    """Reckons as Postgres does, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: LRUCache[str, Lease] = LRUCache(_SHOPS)
        self._levels: LRUCache[str, Level] = LRUCache(_SHOPS)

    def learn(self, shop: str, told: Lease) -> None:
        """What Postgres said last; with it the time alone is over."""
        self._last[shop] = told
        self._levels.pop(shop, None)

    def lease(self, shop: str, ask: Ask) -> Lease:
        now = self._clock.monotonic()
        level = self._levels.get(shop) or self._begun(shop, now)
        self._levels[shop], found = lease(level, Ask(ask.need, ask.lane, patience=ask.patience), now)
        return found

    def _begun(self, shop: str, now: float) -> Level:
        last: Lease | None = self._last.get(shop)
        available = UNKNOWN.maximum if last is None else last.available
        maximum, rate = (UNKNOWN.maximum, UNKNOWN.restore_rate) if last is None else (last.maximum, last.rate)
        return Level(available * SHARE, now, maximum * SHARE, rate * SHARE, known=True)
