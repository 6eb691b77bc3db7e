"""A worker that dies at any point between two steps leaves nothing undone, and doubles nothing when it comes back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.common.clock import SystemClock
from libs.common.outbox.faults import Point
from libs.common.runtime import claims
from services.worker.service import Books, JobBusy, retry
from tests.integration.dying import Death, accept_all, all_done_once, doomed, others_finish
from tests.integration.protocol import LONG, System, system
from tests.waiting import poll

ALL_IN_HAND = "SELECT bool_and(holder LIKE 'worker:%') FROM webhooks.outbox"
SUSPICIONS = "SELECT sum(suspicions) FROM webhooks.outbox"
SUSPECT_ALL = "UPDATE webhooks.outbox SET deliveries = 3"

# What a worker reaches whichever way its messages come, with every kind of handler at work.
ON_THE_WAY: tuple[Point, ...] = (
    "claimed, not started",
    "slot taken, not started",
    "handler done, not committed",
    "committed, not acknowledged",
    "judged, not scheduled",
    "scheduled, not acknowledged",
    "judged, not given up",
    "given up, not acknowledged",
    "moved due, not started",
    "stored, not announced",
    "committed, not published",
    "confirmed, not noted",
)
REDELIVERED: tuple[Point, ...] = ("redelivered, not taken over", "taken over, not started")
GIVEN_BACK: tuple[Point, ...] = ("owed, not given back", "given back, not announced")


@pytest.fixture(autouse=True)
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a death left is found soon after its lease ended."""
    monkeypatch.setattr(claims, "SWEEP_SECONDS", 0.3)


@pytest.fixture
async def one(database: str, broker_url: str) -> AsyncIterator[System]:
    """Leases that end within a test, where nothing but their end repairs what a death left."""
    async with system(
        database, broker_url, broker_lease_seconds=2.5, consumer_lease_seconds=1.0, broker_confirm_seconds=1.0
    ) as ready:
        yield ready


@pytest.fixture
async def without_rabbitmq(database: str) -> AsyncIterator[System]:
    async with system(database, consumer_lease_seconds=1.0) as ready:
        yield ready


@pytest.mark.parametrize("point", ON_THE_WAY)
async def test_wherever_a_worker_dies_others_finish_its_work_and_its_return_changes_nothing(
    one: System, point: Point
) -> None:
    async with doomed(one, point) as worker:
        ids = await accept_all(one)
        await worker.die()
        await others_finish(one)
        await worker.come_back()
    await others_finish(one)
    await all_done_once(one, ids)


@pytest.mark.parametrize("point", REDELIVERED)
async def test_what_one_worker_left_and_a_second_one_was_brought_a_third_one_ends(
    one: System, point: Point
) -> None:
    async with doomed(one, "claimed, not started") as first:
        ids = await accept_all(one)
        await first.die()
        await first.rot()
    async with doomed(one, point) as worker:
        await worker.die()
        await others_finish(one)
        await worker.come_back()
    await others_finish(one)
    await all_done_once(one, ids)


async def test_a_worker_that_dies_with_a_suspect_in_hand_proves_nothing_yet(
    without_rabbitmq: System,
) -> None:
    one = without_rabbitmq
    ids = await accept_all(one)
    await one.pool.execute(SUSPECT_ALL)
    async with doomed(one, "suspicion noted, not started") as worker:
        await worker.die()
        assert await one.pool.fetchval(SUSPICIONS) == 1
        await others_finish(one)
        await worker.come_back()
    await others_finish(one)
    await all_done_once(one, ids)


async def test_leases_that_are_not_renewed_run_out(without_rabbitmq: System) -> None:
    one = without_rabbitmq
    ids = await accept_all(one)
    async with doomed(one, "lease ending, not renewed", holding="claimed, not started") as worker:
        await worker.die()
        await others_finish(one)
        await worker.come_back()
    await others_finish(one)
    await all_done_once(one, ids)


@pytest.mark.parametrize("point", GIVEN_BACK)
async def test_a_worker_may_die_while_it_stops(without_rabbitmq: System, point: Point) -> None:
    one = without_rabbitmq
    ids = await accept_all(one)
    async with doomed(one, point, holding="claimed, not started") as worker:
        await poll(lambda: one.pool.fetchval(ALL_IN_HAND), within=LONG)
        stopping = asyncio.create_task(worker.worker.consumer.quiesce(0))
        await worker.die()
        await others_finish(one)
        await worker.come_back()
        await stopping
    await others_finish(one)
    await all_done_once(one, ids)


async def test_a_replay_that_got_no_answer_is_done_and_is_refused_the_second_time(
    without_rabbitmq: System,
) -> None:
    one = without_rabbitmq
    ids = await accept_all(one)
    await others_finish(one)
    await all_done_once(one, ids)
    replayed = ids["plain"][0]
    death = Death("replayed, not answered")
    books = Books(one.pool, SystemClock(), LONG, faults=death)
    asking = asyncio.create_task(retry(books, replayed))
    await asyncio.wait_for(death.reached.wait(), LONG)
    asking.cancel()
    with pytest.raises(JobBusy):
        await retry(books, replayed)
    await others_finish(one)
    assert (await one.effects())[replayed] == 2
