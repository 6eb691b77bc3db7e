"""The bucket of points that an app has for a shop: filled at a steady rate, drawn on by every query (SHOPIFY 6.3)."""

from dataclasses import dataclass, field
from enum import Enum

from libs.common.clock import Clock
from services.sandbox.scene import Json


@dataclass(frozen=True, slots=True)
class Rate:
    """Points a second, and how many may gather. Sizes are not published; 20 seconds' worth was recorded."""

    restore: float
    size: float


class Plan(Enum):
    """Shopify's plans by what they give."""

    STANDARD = Rate(100, 2_000)
    ADVANCED = Rate(200, 4_000)
    PLUS = Rate(1_000, 20_000)
    ENTERPRISE = Rate(2_000, 40_000)


@dataclass(slots=True)
class Bucket:
    """One shop's points, and how the app kept to them."""

    rate: Rate
    available: float
    filled_at: float
    requests: int = 0
    throttled: int = 0
    spent: int = 0
    lowest: float = float("inf")  # that a request left, or would have: below zero it was throttled

    def fill(self, now: float) -> None:
        gained = (now - self.filled_at) * self.rate.restore
        self.available, self.filled_at = min(self.rate.size, self.available + gained), now

    def reserve(self, points: int, now: float) -> bool:
        """Takes points if there are enough; whether there were."""
        self.fill(now)
        self.requests += 1
        self.lowest = min(self.lowest, self.available - points)
        if points > self.available:
            self.throttled += 1
            return False
        self.available -= points
        return True

    def settle(self, reserved: int, used: int, now: float) -> None:
        """Gives back what was reserved and not used."""
        self.fill(now)
        self.available = min(self.rate.size, self.available + reserved - used)
        self.spent += used

    def shown(self) -> Json:
        """`throttleStatus`, in whole points."""
        return {
            "maximumAvailable": self.rate.size,
            "currentlyAvailable": int(self.available),
            "restoreRate": self.rate.restore,
        }

    def report(self) -> Json:
        """For whoever tests a client: what it did to this shop's bucket."""
        return {
            **self.shown(),
            "requests": self.requests,
            "throttled": self.throttled,
            "spent": self.spent,
            "lowest": min(self.lowest, self.rate.size),
            "deepestOverdraw": max(0.0, -self.lowest),
        }


@dataclass(slots=True)
class Buckets:
    """A bucket for each shop; rates may differ by shop."""

    clock: Clock
    usual: Rate = Plan.STANDARD.value
    rates: dict[str, Rate] = field(default_factory=dict)
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def of(self, shop: str) -> Bucket:
        """The shop's bucket as it is now."""
        now = self.clock.monotonic()
        bucket = self._buckets.get(shop)
        if bucket is None:
            rate = self.rates.get(shop, self.usual)
            bucket = self._buckets[shop] = Bucket(rate, rate.size, now)
        bucket.fill(now)
        return bucket
