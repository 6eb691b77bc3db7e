"""A worker that is told to stop leaves nothing behind that others would have to wait for."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from services.worker.sdk import Context, Message, on
from tests.integration.protocol import LONG, HandlerFunction, System, effect, registry, system
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

HELD = "SELECT count(*) FROM webhooks.outbox WHERE holder LIKE 'worker:%'"
FOR_EVER = 3_600.0  # a lease that a test cannot wait for


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


@pytest.fixture
async def one(database: str, broker: str | None) -> AsyncIterator[System]:
    async with system(
        database, broker, consumer_lease_seconds=FOR_EVER, broker_lease_seconds=FOR_EVER
    ) as ready:
        yield ready


@on("webhook.#")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


class Workplace:
    """Handlers that wait to be told to go on."""

    def __init__(self) -> None:
        self.started: list[UUID] = []
        self.cancelled: list[UUID] = []
        self.release = asyncio.Event()

    def handler(self) -> HandlerFunction:
        @on("webhook.#")
        async def wait(message: Message, ctx: Context) -> None:
            self.started.append(message.id)
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.append(message.id)
                raise
            async with ctx.transaction() as tx:
                await effect(tx, message)

        return wait


async def test_what_runs_is_finished_and_the_rest_is_another_workers_at_once(one: System) -> None:
    place = Workplace()
    async with one.working(registry(place.handler()), consumer_concurrency=3) as worker:
        ids = await one.accept_many(60)
        await poll(lambda: len(place.started) == 2)  # the third place is kept for critical messages
        stopping = asyncio.create_task(worker.stop(LONG))
        async with one.working(registry(keep)):
            await poll(lambda: one.pool.fetchval("SELECT count(*) = 58 FROM worker.history"), within=LONG)
            assert not stopping.done()
            place.release.set()
            await stopping
            await one.finished()
    assert len(place.started) == 2
    assert place.cancelled == []
    await one.done_once(ids)


async def test_what_does_not_finish_in_time_is_cancelled_and_no_attempt_is_used_up(one: System) -> None:
    place = Workplace()
    async with one.working(registry(place.handler())) as worker:
        ids = await one.accept_many(40)
        await poll(lambda: len(place.started) == 14)
        await worker.stop(limit_seconds=0.1)
    assert sorted(place.cancelled) == sorted(place.started)
    assert await one.pool.fetchval(HELD) == 0
    async with one.working(registry(keep)):
        await one.finished()
    await one.done_once(ids)


async def test_a_message_that_outlives_many_stops_is_no_suspect(one: System) -> None:
    place = Workplace()
    identifier = await one.accept()
    for stops in range(1, 8):
        async with one.working(registry(place.handler())) as worker:
            await poll(lambda stops=stops: len(place.started) == stops)  # type: ignore[misc]
            await worker.stop(limit_seconds=0.01)
    row = await one.row(identifier)
    assert row is not None
    assert (row["holder"], row["attempt"], row["deliveries"], row["suspicions"]) == (None, 0, 0, 0)
    async with one.working(registry(keep)):
        await one.finished()
    await one.done_once([identifier])


async def test_workers_may_come_and_go_while_work_keeps_coming(one: System) -> None:
    """As in a rolling deployment. Leases never end here, so whatever a stop forgets is missing at the end."""
    async with one.traffic("webhook.a", "webhook.b", "webhook.c", "webhook.d") as traffic:
        for _ in range(6):
            async with one.working(registry(keep)):
                await traffic.more(60)
    async with one.working(registry(keep)):
        await one.finished()
    await one.done_once(traffic.accepted.values())


async def test_a_stop_while_postgres_is_away_comes_to_an_end(one: System, postgres: PostgresServer) -> None:
    place = Workplace()
    async with one.working(registry(place.handler())) as worker:
        ids = await one.accept_many(20)
        await poll(lambda: len(place.started) == 14)
        await asyncio.to_thread(postgres.stop)
        await asyncio.wait_for(worker.stop(limit_seconds=0.1), LONG)
    await asyncio.to_thread(postgres.start)
    await one.answers()
    await one.free_all()  # in real life their leases end
    async with one.working(registry(keep)):
        await one.finished()
    await one.done_once(ids)
