"""A costly answer that concurrent callers share."""

import asyncio

import pytest

from services.worker.jobs_recent import Recent
from tests.waiting import poll


class Hand:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time


class Question:
    """Counts how often it is asked, and answers when the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.asked += 1
        await self.answer.wait()
        if self.error:
            raise self.error
        return self.asked


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def question() -> Question:
    return Question()


@pytest.fixture
def recent(question: Question, hand: Hand) -> Recent[int]:
    return Recent(question, hand, seconds=1.0)  # type: ignore[arg-type]


async def test_callers_at_the_same_time_share_one_asking(recent: Recent[int], question: Question) -> None:
    callers = [asyncio.create_task(recent.get()) for _ in range(5)]
    await poll(lambda: question.asked)
    question.answer.set()
    assert await asyncio.gather(*callers) == [1] * 5


async def test_an_answer_serves_for_a_while(recent: Recent[int], question: Question, hand: Hand) -> None:
    question.answer.set()
    assert await recent.get() == 1
    hand.time += 0.9
    assert await recent.get() == 1
    hand.time += 0.2
    assert await recent.get() == 2


async def test_an_answer_that_took_long_serves_as_long(
    recent: Recent[int], question: Question, hand: Hand
) -> None:
    caller = asyncio.create_task(recent.get())
    await poll(lambda: question.asked)
    hand.time += 10
    question.answer.set()
    assert await caller == 1
    hand.time += 9
    assert await recent.get() == 1
    hand.time += 2
    assert await recent.get() == 2


async def test_who_hangs_up_takes_the_answer_from_nobody(recent: Recent[int], question: Question) -> None:
    first, second = asyncio.create_task(recent.get()), asyncio.create_task(recent.get())
    await poll(lambda: question.asked)
    first.cancel()
    await asyncio.wait([first])
    question.answer.set()
    assert await second == 1


async def test_an_error_is_told_and_not_kept(recent: Recent[int], question: Question) -> None:
    question.answer.set()
    question.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        await recent.get()
    question.error = None
    assert await recent.get() == 2
