"""The arithmetic of a shop's budget. No I/O; `store.LEASE` is the same in SQL, and tests hold the two together.

Shopify restores a shop's bucket by R points per second up to M, and reserves what a query may cost when it arrives.
Our own level of it is lower: it is charged when a process *leases* points, up to `DELAY` seconds before Shopify sees
them. Whatever is leased within any time t is at most cap + R·t, so what arrives at Shopify within t is at most
cap + R·(t + DELAY). With a cap of M less R·DELAY that is M + R·t: the bucket is never overdrawn, whoever leases.

    lane       may take a level down to      so that there is always
    PRIVACY    0 % of the cap                …
    ORDERS     10 %                          10 % for privacy alone
    CATALOGUE  25 %                          15 % for orders and privacy
    BACKFILL   40 %                          15 % for all but backfills

A backfill without end keeps the level at its floor and loses nothing by it: at any level, R points are restored per
second.
"""

from dataclasses import dataclass, replace

from libs.common.shopify.admin.costs import Bucket
from libs.common.shopify.admin.lanes import ApiLane

HOLD = 0.5  # seconds for which leased points may be spent
TRANSIT = 0.5  # seconds from spending to Shopify: connecting, TLS, the way
DELAY = HOLD + TRANSIT
AHEAD = 0.25  # seconds for which points are promised before they are restored
OLD = 5.0  # seconds of waiting after which points of a later time are promised: small calls do not starve a big one
FLOORS = {ApiLane.PRIVACY: 0.0, ApiLane.ORDERS: 0.1, ApiLane.CATALOGUE: 0.25, ApiLane.BACKFILL: 0.4}
HIGHEST_FLOOR = max(FLOORS.values())
SPARE_SHARE = 0.25  # of what is above every floor, for calls that have not come yet

UNKNOWN = Bucket(
    maximum=1_000.0, available=500.0, restore_rate=50.0
)  # until Shopify tells: the least it ever gave


@dataclass(frozen=True, slots=True)
class Level:
    """What of a shop's bucket is not leased."""

    available: float
    at: float  # when that was so
    maximum: float = UNKNOWN.maximum
    rate: float = UNKNOWN.restore_rate
    known: bool = False  # whether Shopify has ever told

    @property
    def cap(self) -> float:
        return cap(self.maximum, self.rate)


@dataclass(frozen=True, slots=True)
class Seen:
    """What Shopify last told a process, `age` seconds ago."""

    bucket: Bucket
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process wants of a shop's level, and what it brings back."""

    need: float  # points for the call that is first in line; 0 only brings back
    lane: ApiLane = ApiLane.ORDERS
    more: float = 0.0  # points for those behind it in the same lane
    spare: float = 0.0  # points for those who may come
    patience: float = AHEAD  # seconds for which the points may be promised before they are restored
    returned: float = 0.0  # points leased and not used; negative where more was used
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer. Granted points may be spent from `wait` seconds on; without a grant, that is when to ask again."""

    points: float  # 0: not granted
    wait: float
    available: float
    maximum: float
    rate: float

    @property
    def granted(self) -> bool:
        return self.points > 0


def cap(maximum: float, rate: float) -> float:
    """The highest level. A bucket that R·DELAY would take the half of does not exist at Shopify."""
    return max(maximum - rate * DELAY, maximum / 2)


def lease(level: Level, ask: Ask, now: float) -> tuple[Level, Lease]:
    """The level after an ask, and its answer."""
    level = _restored(level, ask, now)
    floor = FLOORS[ask.lane] * level.cap
    wanted = min(ask.need + floor, level.cap)  # what no bucket can hold beside the floor may go below it
    wait = max(0.0, wanted - level.available) / level.rate
    granted = ask.need > 0 and wait <= ask.patience and (wait <= AHEAD or level.available >= floor)
    points = _points(level, ask, floor, now_spendable=wait == 0.0) if granted else 0.0
    level = replace(level, available=level.available - points)
    return level, Lease(points, wait, level.available, level.maximum, level.rate)


def _points(level: Level, ask: Ask, floor: float, *, now_spendable: bool) -> float:
    if not now_spendable:
        return ask.need
    left = level.available - ask.need
    more = min(ask.more, max(0.0, left - floor))
    left -= more
    spare = min(ask.spare, max(0.0, left - HIGHEST_FLOOR * level.cap) * SPARE_SHARE)
    return ask.need + more + spare


def _restored(level: Level, ask: Ask, now: float) -> Level:
    """The level at this moment, with what the process has brought back and what Shopify has told it."""
    before, elapsed = level, max(0.0, now - level.at)
    if ask.seen is not None:
        bucket = ask.seen.bucket
        level = replace(level, maximum=bucket.maximum, rate=bucket.restore_rate, known=True)
    grown = level.cap - before.cap
    available = before.available + before.rate * elapsed + ask.returned + (grown if before.known else 0.0)
    if ask.seen is not None:
        told = ask.seen.bucket.available + level.rate * ask.seen.age
        # Shopify's figure counts what is leased and not spent as there still; so ours is usually below it.
        available = min(available, told) if before.known else told - level.rate * DELAY
    return replace(level, available=min(level.cap, available), at=max(level.at, now))
