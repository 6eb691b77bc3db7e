import asyncio

import pytest

from libs.common.deadlines import Deadlines
from tests.waiting import poll


async def never() -> None:
    await asyncio.Event().wait()


async def quick(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def test_what_is_quick_gives_its_result() -> None:
    deadlines = Deadlines(30)
    assert await asyncio.gather(*(deadlines.within(quick(number)) for number in range(100))) == [*range(100)]


async def test_what_is_slow_is_cancelled_and_times_out() -> None:
    work = asyncio.create_task(never())
    with pytest.raises(TimeoutError):
        await Deadlines(0.01).within(work)
    assert work.cancelled()


async def test_every_one_of_many_times_out() -> None:
    deadlines = Deadlines(0.01)
    waits = (deadlines.within(never()) for _ in range(100))
    outcomes = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 100


async def test_a_task_goes_on_after_its_time_out() -> None:
    deadlines = Deadlines(0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await deadlines.within(never())
    assert await deadlines.within(quick(1)) == 1


async def test_a_task_whose_work_is_done_is_left_alone() -> None:
    deadlines = Deadlines(0.01)
    for number in range(3):
        assert await deadlines.within(quick(number)) == number
        await poll(lambda: deadlines._timer is None)


async def test_errors_of_the_work_come_through() -> None:
    async def failing() -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Deadlines(30).within(failing())


async def test_a_cancelled_caller_is_cancelled_and_not_timed_out() -> None:
    task = asyncio.create_task(Deadlines(30).within(never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_caller_cancelled_at_its_time_out_is_cancelled() -> None:
    deadlines = Deadlines(0)
    task = asyncio.create_task(deadlines.within(never()))
    await asyncio.sleep(0)
    deadlines._expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
