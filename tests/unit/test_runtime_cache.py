import asyncio

import pytest

from libs.common.runtime.cache import Cache
from tests.clocks import TurnedClock


async def test_keeps_each_value_for_its_seconds() -> None:
    clock = TurnedClock()
    cache = Cache(clock)
    cache.put("a", 1, 10)
    cache.put("b", 2, 100)
    clock.turn(11)
    assert (cache.get("a"), cache.get("a", 0), cache.get("b")) == (None, 0, 2)
    cache.drop("b")
    assert cache.get("b") is None


async def test_is_bounded() -> None:
    cache = Cache(TurnedClock(), size=2)
    for number in range(5):
        cache.put(number, number, 10)
    assert [cache.get(number) for number in range(5)] == [None, None, None, 3, 4]


async def test_one_makes_it_for_all() -> None:
    cache, made = Cache(TurnedClock()), []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0)
        return 7

    assert await asyncio.gather(*(cache.remember("a", 10, make) for _ in range(5))) == [7] * 5
    assert await cache.remember("a", 10, make) == 7
    assert len(made) == 1


async def test_an_error_is_not_kept() -> None:
    cache = Cache(TurnedClock())

    async def fail() -> int:
        raise ValueError("no")

    async def work() -> int:
        return 7

    with pytest.raises(ValueError, match="no"):
        await cache.remember("a", 10, fail)
    assert await cache.remember("a", 10, work) == 7


async def test_none_is_a_value_too() -> None:
    cache, made = Cache(TurnedClock()), []

    async def make() -> None:
        made.append(1)

    await cache.remember("a", 10, make)
    await cache.remember("a", 10, make)
    assert len(made) == 1
