"""Many callers share a commit, and each gets what its own item came to."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import DatabaseAway
from libs.common.outbox.group_commit import GroupCommit

SECONDS = 5


class Refused(Exception):
    """The database says no to an item."""


@dataclass
class Store:
    """Commits whole batches or nothing, as a database does; it is away at the calls whose numbers are given."""

    bad: frozenset[int] = frozenset()
    away_at: frozenset[int] = frozenset()
    batches: list[list[int]] = field(default_factory=list)
    stored: Counter[int] = field(default_factory=Counter)
    turns: int = 1  # of the event loop that a commit takes
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event | None = None  # a commit waits for it

    async def write(self, items: Sequence[int]) -> list[str]:
        self.batches.append(list(items))
        call = len(self.batches)
        self.entered.set()
        if self.held is not None:
            await self.held.wait()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if call in self.away_at:
            raise DatabaseAway
        if refused := self.bad & set(items):
            raise Refused(min(refused))
        self.stored.update(items)
        return [f"result of {item}" for item in items]


def commits(store: Store, **limits: int) -> GroupCommit[int, str]:
    return GroupCommit(store.write, size=lambda item: item, **limits)


async def submit_all(group: GroupCommit[int, str], items: Sequence[int]) -> list[str | BaseException]:
    async with asyncio.timeout(SECONDS):
        return await asyncio.gather(*(group.submit(item) for item in items), return_exceptions=True)


async def test_who_comes_alone_is_written_at_once_and_alone() -> None:
    store = Store()
    assert await submit_all(commits(store), [5]) == ["result of 5"]
    assert store.batches == [[5]]


async def test_nobody_waits_for_company() -> None:
    """A few turns of the loop and no timer lie between an item and its commit."""
    store = Store()
    alone = commits(store).submit(5)
    for _ in range(3):
        await asyncio.sleep(0)
    assert store.batches == [[5]]
    await alone


async def test_what_gathers_during_a_commit_shares_the_next() -> None:
    held = asyncio.Event()
    store = Store(held=held)
    group = commits(store, writers=1)
    first = group.submit(1_000)
    await store.entered.wait()
    others = asyncio.create_task(submit_all(group, range(100)))
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, others)
    assert store.batches == [[1_000], list(range(100))]


async def test_a_caller_that_submits_again_right_after_its_answer_is_answered() -> None:
    """The writer that answered it has found nothing more to do by then, but has not quite ended."""
    group = commits(Store(turns=0), writers=1)
    async with asyncio.timeout(SECONDS):
        for item in range(50):
            assert await group.submit(item) == f"result of {item}"


async def test_two_callers_in_step_are_answered_also_when_one_stops() -> None:
    group = commits(Store(turns=2), writers=2)

    async def caller(rounds: int) -> None:
        for item in range(rounds):
            assert await group.submit(item) == f"result of {item}"

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(caller(40), caller(30))


async def test_a_batch_ends_at_its_limits() -> None:
    store = Store()
    await submit_all(commits(store, writers=1, max_items=10), range(35))
    assert [len(batch) for batch in store.batches] == [10, 10, 10, 5]
    store.batches.clear()
    await submit_all(commits(store, writers=1, max_bytes=100), [60, 30, 60, 500, 1])
    assert store.batches == [[60, 30], [60], [500], [1]]


async def test_a_bad_item_fails_alone() -> None:
    store = Store(bad=frozenset({3, 7}))
    results = await submit_all(commits(store), range(10))
    assert [item for item in range(10) if isinstance(results[item], Refused)] == [3, 7]
    assert str(results[7]) == "7"
    assert store.stored == Counter(set(range(10)) - {3, 7})


async def test_while_the_database_is_away_nobody_is_tried_alone() -> None:
    store = Store(away_at=frozenset({1}))
    results = await submit_all(commits(store), range(10))
    assert all(isinstance(result, DatabaseAway) for result in results)
    assert len(store.batches) == 1


async def test_a_caller_that_went_away_before_is_not_written() -> None:
    store = Store()
    group = commits(store)
    going = group.submit(1)
    staying = group.submit(2)
    going.cancel()
    assert await staying == "result of 2"
    assert store.stored == Counter([2])


async def test_a_caller_that_goes_away_meanwhile_leaves_the_others_their_results() -> None:
    held = asyncio.Event()
    store = Store(held=held)
    group = commits(store, writers=1)
    tasks = [group.submit(item) for item in range(3)]
    await store.entered.wait()
    tasks[1].cancel()
    held.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[2]) == ("result of 0", "result of 2")
    assert isinstance(results[1], asyncio.CancelledError)


async def test_closing_waits_for_everything_submitted() -> None:
    store = Store(turns=5)
    group = commits(store, writers=2, max_items=2)
    tasks = [group.submit(item) for item in range(10)]
    await asyncio.sleep(0)
    async with asyncio.timeout(SECONDS):
        await group.close()
    assert len(store.stored) == 10
    assert len(await asyncio.gather(*tasks)) == 10


@pytest.mark.parametrize("writers", [1, 2])
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 400)), min_size=1, max_size=40),
    bad=st.frozensets(st.integers(0, 39), max_size=8),
    away_at=st.frozensets(st.integers(1, 20), max_size=5),
    turns=st.integers(0, 4),
)
def test_every_item_gets_exactly_its_own_result_whatever_fails(
    writers: int,
    arrivals: list[tuple[int, int]],
    bad: frozenset[int],
    away_at: frozenset[int],
    turns: int,
) -> None:
    """Items arrive after any pauses; some are bad, and the database is away at some of the commits."""
    store = Store(bad, away_at, turns=turns)

    async def arrive(group: GroupCommit[int, str], item: int, pause: int) -> str | Exception:
        for _ in range(pause):
            await asyncio.sleep(0)
        try:
            return await group.submit(item)
        except (Refused, DatabaseAway) as error:
            return error

    async def run() -> list[str | Exception]:
        sizes = [size for _, size in arrivals]
        group: GroupCommit[int, str] = GroupCommit(
            store.write, size=lambda item: sizes[item], writers=writers, max_items=7, max_bytes=1_000
        )
        async with asyncio.timeout(SECONDS):
            arriving = (arrive(group, item, pause) for item, (pause, _) in enumerate(arrivals))
            return await asyncio.gather(*arriving)

    for item, result in enumerate(asyncio.run(run())):
        if isinstance(result, DatabaseAway):
            assert store.stored[item] == 0
        elif item in bad:
            assert isinstance(result, Refused)
            assert str(result) == str(item)
        else:
            assert result == f"result of {item}"
            assert store.stored[item] == 1
