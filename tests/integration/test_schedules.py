"""A schedule's handler runs once per tick, however many workers there are and whatever they missed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from libs.common.clock import SystemClock
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.runtime.handlers import Registry
from libs.common.runtime.schedules import Schedules
from services.worker.sdk import Context, Message, every
from tests.integration.protocol import System, effect, registry, system
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

TICKS = "SELECT count(*) FROM worker.messages WHERE type = 'schedule.tested.clean_up'"
SET_BACK = "UPDATE worker.schedules SET last_tick = last_tick - make_interval(days => $1)"


@every("0 0 1 1 *")  # rarely enough that none comes while a test runs, but for one night a year
async def clean_up(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


HANDLERS = registry(clean_up)


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database) as ready:
        yield ready


@asynccontextmanager
async def scheduler(one: System, handlers: Registry = HANDLERS) -> AsyncIterator[Schedules]:
    """What one worker has for its schedules."""
    async with (
        open_pool(one.settings) as pool,
        open_producer(one.settings, schema="worker", pool=pool) as producer,
    ):
        yield Schedules("worker", handlers.handlers, pool, producer, SystemClock())


async def ticks(one: System) -> int:
    number: int = await one.pool.fetchval(TICKS)
    return number


async def set_back(one: System, days: int) -> None:
    await one.pool.execute(SET_BACK, days)


async def test_a_new_schedule_waits_for_its_first_tick(one: System) -> None:
    async with scheduler(one) as schedules:
        nap = await schedules.tick()
    assert nap > 0
    assert await ticks(one) == 0


async def test_a_tick_comes_once_however_many_workers_look_at_once(one: System) -> None:
    async with scheduler(one) as first, scheduler(one) as second, one.working(HANDLERS):
        await first.tick()
        await set_back(one, 366)
        await asyncio.gather(*(one_of.tick() for one_of in (first, second) for _ in range(10)))
        await first.tick()
        await one.finished()
    assert await ticks(one) == 1
    history = await one.history()
    assert [row["handler"] for row in history.values()] == ["tested.clean_up"]
    assert sum((await one.effects()).values()) == 1


async def test_ticks_that_nobody_was_there_for_are_made_up_for_once(one: System) -> None:
    async with scheduler(one) as schedules:
        await schedules.tick()
        await set_back(one, 5 * 366)
        await schedules.tick()
        await schedules.tick()
    assert await ticks(one) == 1


async def test_the_message_of_a_tick_carries_the_ticks_own_time(one: System) -> None:
    async with scheduler(one) as schedules:
        await schedules.tick()
        await set_back(one, 366)
        await schedules.tick()
    time = await one.pool.fetchval("SELECT time FROM worker.messages")
    assert time == datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC)


async def test_a_schedule_whose_last_tick_is_forgotten_does_not_run_the_same_tick_again(one: System) -> None:
    async with scheduler(one) as schedules:
        await schedules.tick()
        for _ in range(2):
            await set_back(one, 366)
            await schedules.tick()
    assert await ticks(one) == 1


async def test_schedules_outlive_an_outage_of_postgres(one: System, postgres: PostgresServer) -> None:
    async with scheduler(one) as first, scheduler(one) as second:
        await first.tick()
        postgres.stop()
        running = [asyncio.create_task(one_of.run()) for one_of in (first, second)]
        await asyncio.sleep(0)
        postgres.start()
        await one.answers()
        await set_back(one, 366)
        await poll(lambda: ticks(one), within=20)
        assert not any(task.done() for task in running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert await ticks(one) == 1


async def test_a_handler_without_a_schedule_costs_nothing(one: System) -> None:
    async with scheduler(one, registry()) as schedules:
        await asyncio.wait_for(schedules.run(), 10)
    assert await ticks(one) == 0
