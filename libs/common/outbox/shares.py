"""What a shop may send before its messages take the overflow lane: a token bucket per shop, in memory.

The bucket is per producer process: fairness needs an estimate, not an exact count, and costs no query this way.
"""

from collections import OrderedDict

from libs.common.clock import Clock

_MOST_SHOPS = 50_000  # the least recently seen are forgotten, which refills their bucket


class ShopShares:
    """Token buckets: `rate` messages a second, saved up to `burst`."""

    def __init__(self, clock: Clock, *, rate: float, burst: int) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, shop: str) -> bool:
        """Takes one token; False when the shop has used up its share."""
        now = self._clock.monotonic()
        tokens, stamp = self._buckets.pop(shop, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - stamp) * self._rate)
        allowed = tokens >= 1
        self._buckets[shop] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _MOST_SHOPS:
            self._buckets.popitem(last=False)
        return allowed
