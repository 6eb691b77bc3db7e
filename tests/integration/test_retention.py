"""What is over and old is deleted, payload and traces together; what still waits for work never is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Message
from libs.common.outbox import end_store, look_store, metrics, retention, retention_store
from libs.common.outbox.retention import Expired, expire, retention_loop
from tests.integration.places import Places, open_places
from tests.waiting import poll

SOURCES, CONSUMERS, DAYS = ("webhooks", "worker"), ("worker",), 14
OLD = datetime.now(UTC) - timedelta(days=15)


class Unhurried(SystemClock):
    """A clock whose sleeps take no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def places(database: str) -> AsyncIterator[Places]:
    async with open_places(database) as opened:
        yield opened


async def run(places: Places) -> Expired:
    return await expire(places.pool, SOURCES, CONSUMERS, DAYS, Unhurried())


async def kept(places: Places) -> set[UUID]:
    return {row["id"] for row in await places.pool.fetch("SELECT id FROM webhooks.messages")}


async def age(places: Places, days: int = 15) -> None:
    """Everything that ended did so that long ago."""
    ago = timedelta(days=days)
    await places.pool.execute("UPDATE worker.history SET finished_at = finished_at - $1::interval", ago)
    await places.pool.execute("UPDATE worker.failed SET failed_at = failed_at - $1::interval", ago)


async def test_what_ended_long_ago_goes_with_its_payload(places: Places) -> None:
    await places.completed(at=OLD)
    await places.failed(at=OLD)
    await places.of("worker").completed(at=OLD)
    await age(places)
    young = await places.completed()
    assert await run(places) == Expired(payloads=3, history=2, failed=1)
    assert await kept(places) == {young.id}
    assert await places.pool.fetchval("SELECT count(*) FROM worker.history") == 1
    assert await places.pool.fetchval("SELECT count(*) FROM worker.failed") == 0
    assert await run(places) == Expired()


async def test_what_waits_for_work_is_kept_however_old(places: Places) -> None:
    old = [
        await places.pending(at=OLD),
        await places.queued(at=OLD),
        await places.processing(at=OLD),
        await places.scheduled(at=OLD),
    ]
    assert await run(places) == Expired()
    assert await kept(places) == {message.id for message in old}


async def test_what_ended_late_is_kept_from_its_end(places: Places) -> None:
    late = [await places.completed(at=OLD), await places.failed(at=OLD)]
    await age(places, days=13)
    assert await run(places) == Expired()
    assert await kept(places) == {message.id for message in late}


async def test_what_is_young_by_its_id_is_kept(places: Places) -> None:
    message = await places.completed()
    await age(places)
    assert await run(places) == Expired()
    assert await kept(places) == {message.id}


async def test_a_payload_that_no_place_refers_to_goes_too(places: Places) -> None:
    await places.pending(at=OLD)
    await places.pool.execute("DELETE FROM webhooks.outbox")
    await places.pending()
    await places.pool.execute("DELETE FROM webhooks.outbox")
    assert await run(places) == Expired(payloads=1)


async def test_many_go_in_batches(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        await places.completed(at=OLD)
        await places.failed(at=OLD)
    waiting = [(await places.pending(at=OLD)).id for _ in range(5)]
    await age(places)
    assert await run(places) == Expired(payloads=10, history=5, failed=5)
    assert await kept(places) == set(waiting)


async def test_it_is_counted(places: Places) -> None:
    before = _expired("payloads"), _expired("failed")
    await places.failed(at=OLD)
    await age(places)
    await run(places)
    assert (_expired("payloads"), _expired("failed")) == (before[0] + 1, before[1] + 1)


async def test_one_process_at_a_time_deletes(places: Places) -> None:
    await places.completed(at=OLD)
    await age(places)
    async with places.pool.acquire() as other:
        assert await retention_store.try_lock(other)
        assert await run(places) == Expired()
        await retention_store.unlock(other)
    assert await run(places) == Expired(payloads=1, history=1)


async def test_afterwards_another_process_may(places: Places) -> None:
    await run(places)
    async with places.pool.acquire() as first, places.pool.acquire() as second:
        assert await retention_store.try_lock(first)
        assert not await retention_store.try_lock(second)


@pytest.mark.parametrize("place", ["completed", "failed"])
async def test_a_replay_under_way_keeps_its_message(places: Places, place: str) -> None:
    message: Message = await getattr(places, place)(at=OLD)
    await age(places)
    async with places.pool.acquire() as conn:
        async with conn.transaction():
            assert await end_store.replay(conn, "webhooks", "worker", message.id)
            assert await run(places) == Expired()
        (row,) = await look_store.look(conn, "webhooks", "worker", [message.id])
    assert row["status"] == "pending"
    assert await kept(places) == {message.id}


async def test_a_replay_that_comes_too_late_finds_nothing(places: Places) -> None:
    message = await places.completed(at=OLD)
    await age(places)
    async with places.pool.acquire() as deleting, places.pool.acquire() as replaying:
        async with deleting.transaction():
            await deleting.execute("DELETE FROM worker.history")
            await deleting.execute("DELETE FROM webhooks.messages")
            late = asyncio.create_task(end_store.replay(replaying, "webhooks", "worker", message.id))
            await poll(lambda: _waits_for_a_lock(places))
        assert await late is None
    assert await places.pool.fetchval("SELECT count(*) FROM webhooks.outbox") == 0


async def test_the_loop_deletes_by_itself(places: Places) -> None:
    await places.completed(at=OLD)
    await age(places)
    loop = asyncio.create_task(retention_loop(places.pool, SOURCES, CONSUMERS, DAYS, Unhurried()))
    await poll(lambda: _gone(places))
    loop.cancel()
    await asyncio.wait([loop])
    assert loop.cancelled()


async def _gone(places: Places) -> bool:
    return not await kept(places)


async def _waits_for_a_lock(places: Places) -> bool:
    blocked: bool = await places.pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    return blocked


def _expired(kind: str) -> float:
    return sum(
        sample.value
        for family in metrics.EXPIRED.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["kind"] == kind
    )
