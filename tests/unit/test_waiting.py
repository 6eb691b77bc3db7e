"""`poll` gives what a condition becomes, and fails when it becomes nothing."""

import pytest

from tests.waiting import poll


async def test_it_gives_the_first_true_value() -> None:
    values = iter([0, None, 7, 8])
    assert await poll(lambda: next(values)) == 7


async def test_it_awaits_what_is_awaitable() -> None:
    values = iter([False, True])

    async def condition() -> bool:
        return next(values)

    assert await poll(condition)


async def test_it_fails_with_the_condition_and_its_last_value() -> None:
    with pytest.raises(AssertionError, match=r"not true within 0\.01 s: .*test_waiting\.py.*last value 0"):
        await poll(lambda: 0, within=0.01)


async def test_an_error_of_the_condition_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await poll(lambda: 1 // 0)
