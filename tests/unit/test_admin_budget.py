"""The budget's arithmetic: whatever processes do with it, Shopify's own bucket is never overdrawn."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.shopify.admin.budget import (
    AHEAD,
    FLOORS,
    HOLD,
    TRANSIT,
    UNKNOWN,
    Ask,
    Lease,
    Level,
    Seen,
    lease,
)
from libs.common.shopify.admin.costs import Bucket
from libs.common.shopify.admin.lanes import ApiLane

EPSILON = 1e-6


@dataclass
class Shopify:
    """A bucket as Shopify keeps it, in made-up time."""

    maximum: float
    rate: float
    available: float
    at: float = 0.0
    lowest: float = float("inf")

    def move(self, points: float, now: float) -> None:
        self.available = min(self.maximum, self.available + self.rate * (now - self.at)) + points
        self.available, self.at = min(self.maximum, self.available), now
        self.lowest = min(self.lowest, self.available)

    def told(self) -> Bucket:
        return Bucket(self.maximum, self.available, self.rate)


@dataclass
class World:
    """Processes that lease from one level and spend at one bucket, each as late as it may."""

    shopify: Shopify
    level: Level
    now: float = 0.0
    events: list[tuple[float, int, str, float]] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)

    def plan(self, at: float, what: str, points: float) -> None:
        heappush(self.events, (at, next(self.numbers), what, points))

    def until(self, moment: float) -> None:
        """Lets happen what is planned up to a moment."""
        while self.events and self.events[0][0] <= moment:
            self.now, _, what, points = heappop(self.events)
            if what == "return":
                self.ask(Ask(0.0, returned=points, seen=Seen(self.shopify.told())))
            else:
                self.shopify.move(points, self.now)
        self.now = moment

    def ask(self, ask: Ask) -> Lease:
        self.level, found = lease(self.level, ask, self.now)
        return found

    def call(self, step: "Step") -> bool:
        """One process leases for one call; what it leased besides is spent or goes back."""
        found = self.ask(Ask(step.cost, step.lane, spare=self.level.rate * 0.25, patience=step.patience))
        if not found.granted:
            return False
        self._spend(step, step.cost, self.now + found.wait)
        spare = found.points - step.cost
        if spare > EPSILON and step.spends_spare:
            self._spend(step, spare, self.now + found.wait)
        elif spare > EPSILON:
            self.plan(self.now + found.wait + HOLD, "return", spare)
        return True

    def _spend(self, step: "Step", cost: float, begins: float) -> None:
        arrives = begins + step.hold * HOLD + step.transit * TRANSIT
        ends = arrives + step.runs
        unused = cost * step.unused
        self.plan(arrives, "reserve", -cost)
        self.plan(ends, "refund", unused)
        self.plan(ends + 0.1, "return", unused)


@dataclass(frozen=True)
class Step:
    gap: float
    cost: float
    lane: ApiLane
    hold: float
    transit: float
    runs: float
    unused: float
    patience: float
    spends_spare: bool


share = st.floats(0, 1)
steps = st.builds(
    Step,
    gap=st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.1, 1.0, 30.0]),
    cost=st.sampled_from([1.0, 10.0, 50.0, 200.0, 600.0]),
    lane=st.sampled_from(list(ApiLane)),
    hold=share,
    transit=share,
    runs=st.sampled_from([0.0, 0.1, 3.0]),
    unused=st.sampled_from([0.0, 0.0, 0.5, 0.9]),
    patience=st.sampled_from([AHEAD, AHEAD, 10.0]),
    spends_spare=st.booleans(),
)
plans = st.sampled_from([(1_000.0, 50.0), (2_000.0, 100.0), (4_000.0, 200.0), (20_000.0, 1_000.0)])


@settings(max_examples=100)
@given(plan=plans, script=st.lists(steps, min_size=1, max_size=60), full=share)
def test_never_overdrawn_however_late_points_are_spent(
    plan: tuple[float, float], script: list[Step], full: float
) -> None:
    maximum, rate = plan
    level = Level(0.0, 0.0, maximum, rate, known=True)
    world = World(
        Shopify(maximum, rate, level.cap * full + rate),
        Level(level.cap * full, 0.0, maximum, rate, known=True),
    )
    for step in script:
        world.until(world.now + step.gap)
        world.call(step)
    world.until(world.now + 60)
    assert world.shopify.lowest >= -EPSILON


@given(lane=st.sampled_from(list(ApiLane)), available=st.floats(-500, 2_000), cost=st.floats(1, 1_000))
def test_a_lane_leaves_what_belongs_to_those_before_it(lane: ApiLane, available: float, cost: float) -> None:
    level = Level(available, 0.0, 2_000, 100, known=True)
    after, found = lease(level, Ask(cost, lane, more=1_000, spare=1_000), 0.0)
    floor = FLOORS[lane] * level.cap
    if found.granted and found.wait == 0:
        assert found.points >= cost
        assert after.available >= min(floor, level.cap - cost) - EPSILON
    if found.granted:  # promised for a moment at which the points are there
        assert after.available + found.wait * level.rate >= min(floor, level.cap - cost) - EPSILON
    else:
        assert after.available == min(available, level.cap)


@given(
    costs=st.lists(st.sampled_from([10.0, 50.0, 120.0]), min_size=100, max_size=100),
    lane=st.sampled_from(ApiLane),
)
def test_who_always_asks_gets_all_that_is_restored(costs: list[float], lane: ApiLane) -> None:
    level, now, used = Level(0.0, 0.0, 2_000, 100, known=True), 0.0, 0.0
    for cost in costs:
        while not (found := lease(level, Ask(cost, lane), now))[1].granted:
            now += max(0.02, min(0.25, found[1].wait - AHEAD))
        level, used = found[0], used + cost
    after_the_floor = FLOORS[lane] * level.cap / level.rate
    assert used >= 0.99 * 100 * (now - after_the_floor)


def test_a_bucket_that_grows_is_used_at_once() -> None:
    level = Level(100.0, 0.0, 2_000, 100, known=True)
    after, _ = lease(level, Ask(0.0, seen=Seen(Bucket(20_000, 18_000, 1_000))), 0.0)
    assert (after.maximum, after.rate) == (20_000, 1_000)
    assert after.available == 100 + after.cap - level.cap


def test_others_who_call_with_the_same_token_are_noticed() -> None:
    level = Level(1_500.0, 0.0, 2_000, 100, known=True)
    after, _ = lease(level, Ask(0.0, seen=Seen(Bucket(2_000, 300, 100), age=0.5)), 0.0)
    assert after.available == 350


def test_a_shop_never_called_begins_with_little_and_learns() -> None:
    level = Level(UNKNOWN.available, 0.0)
    _, found = lease(level, Ask(100.0, ApiLane.BACKFILL), 0.0)
    assert (found.granted, found.wait) == (True, 0)
    after, _ = lease(level, Ask(0.0, seen=Seen(Bucket(2_000, 1_990, 100))), 0.0)
    assert (after.known, after.available) == (True, 1_890)
