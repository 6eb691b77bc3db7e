"""Answers in memory: never more or larger than they may be, never older, asked for once, forgotten when told."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.shopify.admin import errors
from services.worker.data_cache import Answered, Bounds, DataCache, Key
from tests.clocks import TurnedClock

BOUNDS = Bounds(answers=16, size=40_000, fresh=60.0, stale=600.0)
ONE, TWO = "one.myshopify.com", "two.myshopify.com"
KEY = Key(ONE, "orders", "page")


@dataclass
class Asked:
    """What is asked of Shopify: counted, and answered when the test lets it."""

    clock: TurnedClock
    size: int = 10
    times: int = 0
    fails: Exception | None = None
    lasting: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> Answered:
        self.times += 1
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return Answered.of(bytes(self.size), self.clock.monotonic(), lasting=self.lasting)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def cache(clock: TurnedClock) -> DataCache:
    return DataCache(BOUNDS, clock)


@pytest.fixture
def asked(clock: TurnedClock) -> Asked:
    found = Asked(clock)
    found.gate.set()
    return found


async def source(cache: DataCache, asked: Asked, key: Key = KEY) -> str:
    return (await cache.get(key, asked)).source


KEYS = st.builds(
    Key, st.sampled_from([ONE, TWO]), st.sampled_from(["orders", "products"]), st.sampled_from("abcdefgh")
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), KEYS, st.integers(0, 12_000)),
        st.tuples(st.just("drop"), KEYS, st.booleans()),
        st.tuples(st.just("turn"), KEYS, st.integers(1, 700)),
    ),
    max_size=60,
)


@given(STEPS)
def test_never_more_never_larger_never_of_a_shop_that_was_dropped(steps: list[tuple[str, Key, int]]) -> None:
    asyncio.run(_through(steps))


async def _through(steps: list[tuple[str, Key, int]]) -> None:
    clock = TurnedClock()
    cache, dropped_at = DataCache(BOUNDS, clock), dict[tuple[str, str], float]()
    for what, key, number in steps:
        match what:
            case "get":
                asked = Asked(clock, size=number)
                asked.gate.set()
                found = await cache.get(key, asked)
                assert clock.monotonic() - found.answer.at < BOUNDS.fresh
                assert found.answer.at >= dropped_at.get((key.shop, key.subject), 0.0)
                assert (found.source == "miss") == (asked.times == 1)
            case "drop":
                cache.drop(key.shop, key.subject if number else None)
                for subject in (key.subject,) if number else ("orders", "products"):
                    dropped_at[key.shop, subject] = clock.monotonic()
            case "turn":
                clock.turn(number)
                cache.sweep()
        told = cache.statistics()
        assert told["answers"] <= BOUNDS.answers
        assert told["bytes"] <= BOUNDS.size
        assert (told["bytes"] == 0) == (told["answers"] == 0)
        await asyncio.sleep(0)


async def test_an_answer_is_given_again_while_it_is_fresh(
    cache: DataCache, asked: Asked, clock: TurnedClock
) -> None:
    assert [await source(cache, asked), await source(cache, asked)] == ["miss", "hit"]
    clock.turn(60.0)
    assert await source(cache, asked) == "miss"
    assert asked.times == 2


async def test_what_is_asked_for_at_once_is_asked_of_shopify_once(
    cache: DataCache, clock: TurnedClock
) -> None:
    asked = Asked(clock)
    tasks = [asyncio.create_task(source(cache, asked)) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # the one who began it leaves
    await asyncio.sleep(0)
    asked.gate.set()
    assert await asyncio.gather(*tasks[1:]) == ["joined"] * 4
    assert asked.times == 1


async def test_an_answer_under_way_is_not_kept_where_the_shop_is_dropped(
    cache: DataCache, clock: TurnedClock
) -> None:
    before, after = Asked(clock), Asked(clock)
    first = asyncio.create_task(source(cache, before))
    await asyncio.sleep(0)
    cache.drop(ONE)
    second = asyncio.create_task(source(cache, after))
    await asyncio.sleep(0)
    before.gate.set()
    assert await first == "miss"
    after.gate.set()
    assert (await second, after.times) == ("miss", 1)
    assert (await cache.get(KEY, before)).source == "hit"


async def test_an_older_answer_serves_where_shopify_is_away_and_not_where_it_refuses(
    cache: DataCache, asked: Asked, clock: TurnedClock
) -> None:
    await source(cache, asked)
    clock.turn(61.0)
    asked.fails = errors.Unavailable("no answer")
    assert await source(cache, asked) == "stale"
    asked.fails = errors.AccessDenied("no more")
    with pytest.raises(errors.AccessDenied):
        await source(cache, asked)
    asked.fails = errors.Unavailable("no answer")
    clock.turn(600.0)
    with pytest.raises(errors.Unavailable):
        await source(cache, asked)


async def test_what_nobody_asks_for_leaves_memory_when_it_is_too_old(
    cache: DataCache, asked: Asked, clock: TurnedClock
) -> None:
    await source(cache, asked)
    clock.turn(599.0)
    cache.sweep()
    assert cache.statistics()["answers"] == 1
    clock.turn(1.0)
    cache.sweep()
    told = cache.statistics()
    assert (told["answers"], told["bytes"], told["expired"]) == (0, 0, 1)


async def test_an_answer_of_which_a_part_was_away_is_not_kept(cache: DataCache, asked: Asked) -> None:
    asked.lasting = False
    assert [await source(cache, asked), await source(cache, asked)] == ["miss", "miss"]


async def test_everything_is_forgotten_when_news_were_missed(cache: DataCache, asked: Asked) -> None:
    await source(cache, asked)
    await source(cache, asked, Key(TWO, "products", "one 1"))
    cache.drop_all()
    told = cache.statistics()
    assert (told["answers"], told["bytes"], told["dropped"]) == (0, 0, 2)


async def test_what_was_asked_for_last_stays_though_it_was_looked_through(
    cache: DataCache, asked: Asked
) -> None:
    keys = [Key(f"{number // 4}.myshopify.com", "orders", str(number)) for number in range(17)]
    for key in keys[:16]:
        await source(cache, asked, key)
    assert await source(cache, asked, keys[0]) == "hit"
    cache.sweep()
    await source(cache, asked, keys[16])  # one more than there may be
    assert await source(cache, asked, keys[0]) == "hit"
    assert await source(cache, asked, keys[1]) == "miss"


async def test_a_shop_that_asks_for_much_drives_out_its_own_answers_alone(
    cache: DataCache, asked: Asked
) -> None:
    await source(cache, asked, Key(TWO, "orders", "page"))
    for number in range(40):
        await source(cache, asked, Key(ONE, "orders", str(number)))
    assert await source(cache, asked, Key(TWO, "orders", "page")) == "hit"
    assert cache.statistics()["answers"] == 5
    asked.size = 3_000
    for number in range(40):
        await source(cache, asked, Key(ONE, "orders", f"large {number}"))
        assert cache.statistics()["bytes"] <= BOUNDS.size / 4 + 1_034
    assert await source(cache, asked, Key(TWO, "orders", "page")) == "hit"
