"""A process spends what it was given, asks rarely, and lets through no more than its share on its own account."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import DatabaseAway
from services.ingest.limits import FREE, Limit, Limits
from services.ingest.store import Ask
from tests.clocks import TurnedClock


class Buckets:
    """The buckets in Postgres, as they should behave."""

    def __init__(self, clock: TurnedClock) -> None:
        self.clock = clock
        self.held: dict[str, tuple[float, float]] = {}
        self.asked: list[Ask] = []
        self.away = False

    async def lease(self, asks: Sequence[Ask]) -> dict[str, float]:
        if self.away:
            raise DatabaseAway
        assert len({ask.name for ask in asks}) == len(asks)
        self.asked += asks
        return {ask.name: self._take(ask) for ask in asks}

    def _take(self, ask: Ask) -> float:
        now = self.clock.monotonic()
        tokens, at = self.held.get(ask.name, (ask.burst, now))
        tokens = min(ask.burst, tokens + (now - at) * ask.rate)
        granted = min(ask.wanted, tokens)
        self.held[ask.name] = tokens - granted, now
        return granted


def limits(buckets: Buckets, *, rate: float = 100.0, burst: float = 1_000.0) -> Limits:
    return Limits("key", Limit(rate, burst), buckets.lease, buckets.clock)


@pytest.fixture
def buckets() -> Buckets:
    return Buckets(TurnedClock())


async def test_what_comes_slowly_asks_nobody(buckets: Buckets) -> None:
    mine = limits(buckets)
    for _ in range(100):
        assert await mine.take("a", 1) is None
        buckets.clock.turn(1)
    assert buckets.asked == []


async def test_a_burst_passes_and_then_there_is_nothing_for_a_while(buckets: Buckets) -> None:
    mine = limits(buckets)
    passed = 0
    while await mine.take("a", 10) is None:
        passed += 10
    assert 1_000 <= passed <= 1_000 * (1 + FREE)
    wait = mine.refused("a")
    assert wait is not None
    asked = len(buckets.asked)
    assert await mine.take("a", 10) is not None
    assert len(buckets.asked) == asked  # a flood that is refused asks nobody
    buckets.clock.turn(wait + 1)
    assert await mine.take("a", 10) is None


async def test_a_flood_of_one_name_leaves_another_alone(buckets: Buckets) -> None:
    mine = limits(buckets)
    while await mine.take("flood", 50) is None:
        pass
    assert await mine.take("other", 500) is None


async def test_what_is_asked_for_together_is_asked_once_and_shared(buckets: Buckets) -> None:
    mine = limits(buckets)
    answers = await asyncio.gather(*(mine.take("a", 40) for _ in range(30)))
    passed = 40 * sum(answer is None for answer in answers)
    assert 900 <= passed <= 1_050
    assert len(buckets.asked) <= 3


async def test_more_than_a_burst_at_once_takes_all_of_it(buckets: Buckets) -> None:
    mine = limits(buckets, burst=100)
    assert await mine.take("a", 5_000) is None
    assert await mine.take("a", 100) is not None


async def test_where_nobody_can_be_asked_the_caller_is_told(buckets: Buckets) -> None:
    buckets.away = True
    mine = limits(buckets)
    assert await mine.take("a", 10) is None
    with pytest.raises(DatabaseAway):
        await mine.take("a", 500)
    buckets.away = False
    assert await mine.take("a", 500) is None


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200), st.floats(0, 2)), min_size=1, max_size=120)


@given(STEPS)
def test_all_processes_together_keep_the_limit(steps: list[tuple[int, int, float]]) -> None:
    asyncio.run(_keep_the_limit(steps))


async def _keep_the_limit(steps: list[tuple[int, int, float]]) -> None:
    buckets = Buckets(TurnedClock())
    processes = [limits(buckets, rate=50, burst=300) for _ in range(4)]
    began, passed = buckets.clock.monotonic(), 0
    for process, wanted, pause in steps:
        if await processes[process].take("a", wanted) is None:
            passed += min(wanted, 300)
        seconds = buckets.clock.monotonic() - began
        assert passed <= (300 + 50 * seconds) * (1 + len(processes) * FREE) + 1e-6
        buckets.clock.turn(pause)


async def test_what_was_granted_while_others_spent_is_not_lost(buckets: Buckets) -> None:
    mine = limits(buckets)
    passed = 0

    async def flood() -> None:
        nonlocal passed
        while await mine.take("a", 5) is None:
            passed += 5

    await asyncio.gather(*(flood() for _ in range(7)))
    assert passed >= 990
