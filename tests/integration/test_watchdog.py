"""A handler that keeps the event loop from running is reported by name."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from libs.common.runtime.watchdog import TASK_PREFIX, Watchdog
from services.worker.sdk import Context, Message, on
from tests.integration.protocol import System, counted, registry, system
from tests.log_capture import logged
from tests.waiting import poll

LIMIT = 0.2


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    watching = Watchdog(asyncio.get_running_loop(), limit=LIMIT)
    watching.start()
    yield watching
    watching.stop()


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database) as ready:
        yield ready


def reports(handler: str) -> float:
    return counted("worker_loop_blocked_total", handler=handler)


def block(handler: str) -> None:
    """Blocks until the watchdog has reported it, or for half a minute; the loop's own thread does nothing but wait."""
    reported = threading.Event()

    def look() -> None:
        before = reports(handler)
        while reports(handler) == before and not reported.is_set():
            time.sleep(0.01)
        reported.set()

    looking = threading.Thread(target=look)
    looking.start()
    reported.wait(30)
    reported.set()
    looking.join()


async def test_a_handler_that_blocks_is_named_in_the_metrics_and_in_the_log(
    one: System, watchdog: Watchdog
) -> None:
    @on("webhook.blocking")
    async def block_for_a_while(message: Message, ctx: Context) -> None:
        block("tested.block_for_a_while")

    before = reports("tested.block_for_a_while")
    with logged() as written:
        async with one.working(registry(block_for_a_while)):
            await one.accept("webhook.blocking")
            await one.finished()
    assert reports("tested.block_for_a_while") == before + 1
    [line] = [line for line in written.lines if "stands still" in line["event"]]
    assert line["handler"] == "tested.block_for_a_while"
    assert "in block_for_a_while" in line["stack"]


async def test_each_standstill_is_reported_once(watchdog: Watchdog) -> None:
    async def handler() -> None:
        for _ in range(3):
            block("tested.thrice")
            await asyncio.sleep(2 * LIMIT)  # what is tested is time itself

    before = reports("tested.thrice")
    await asyncio.create_task(handler(), name=TASK_PREFIX + "tested.thrice")
    assert reports("tested.thrice") == before + 3


async def test_what_blocks_and_is_no_handler_has_no_name(watchdog: Watchdog) -> None:
    async def something() -> None:
        block("none")

    before = reports("none")
    await asyncio.create_task(something())
    assert reports("none") == before + 1


async def test_a_handler_that_waits_is_not_reported(one: System, watchdog: Watchdog) -> None:
    ended = asyncio.Event()

    @on("webhook.patient")
    async def wait_long(message: Message, ctx: Context) -> None:
        beat = watchdog._beat
        await poll(lambda: watchdog._beat > beat + 3 * LIMIT)
        ended.set()

    before = reports("tested.wait_long")
    async with one.working(registry(wait_long)):
        await one.accept("webhook.patient")
        await one.finished()
    assert ended.is_set()
    assert reports("tested.wait_long") == before
