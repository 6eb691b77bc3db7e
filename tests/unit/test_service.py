import asyncio
import os
import signal

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from yarl import URL

from libs.common import service
from libs.common.errors import ConfigurationError
from libs.common.service import Service, serve, until_signalled
from libs.common.settings import CommonSettings
from libs.common.tasks import WELL_SECONDS, background
from libs.common.web import json_response
from tests.clocks import TurnedClock
from tests.serving import serving
from tests.waiting import poll


class Slow:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, _: web.Request) -> web.Response:
        self.entered.set()
        await self.go_on.wait()
        return json_response({"done": True})


async def serving_slowly(slow: Slow, settings: CommonSettings) -> tuple[asyncio.Task[None], str]:
    ports: list[int] = []
    task = asyncio.create_task(
        serve([Service("test", [web.get("/", slow.__call__)])], settings, started=ports.append)
    )
    await poll(lambda: ports)
    return task, f"http://127.0.0.1:{ports[0]}/"


async def test_a_stop_lets_running_requests_finish_and_takes_no_new_ones() -> None:
    slow = Slow()
    task, url = await serving_slowly(slow, CommonSettings(port=0))
    async with aiohttp.ClientSession() as client:
        running = asyncio.create_task(client.get(url))
        await slow.entered.wait()
        task.cancel()

        async def refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
            except ConnectionRefusedError:
                return True
            writer.close()
            await writer.wait_closed()
            return False

        await poll(refused)
        assert not task.done()
        slow.go_on.set()
        response = await running
        assert (response.status, response.headers["Connection"]) == (200, "close")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_does_not_wait_for_ever() -> None:
    slow = Slow()
    task, url = await serving_slowly(slow, CommonSettings(port=0, shutdown_seconds=0.05))
    async with aiohttp.ClientSession() as client:
        running = asyncio.create_task(client.get(url))
        await slow.entered.wait()
        task.cancel()
        with pytest.raises(aiohttp.ClientError):
            await running
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_idle_connection_does_not_hold_up_a_stop() -> None:
    slow = Slow()
    slow.go_on.set()
    task, url = await serving_slowly(slow, CommonSettings(port=0))
    async with aiohttp.ClientSession() as client:
        async with client.get(url) as response:
            await response.read()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_taken_port_is_named() -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        with pytest.raises(
            ConfigurationError, match=rf"^port {port} is taken by another program; set PORT=…$"
        ):
            await serve([Service("test", [])], CommonSettings(port=port))


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await serve([Service("test", [])], CommonSettings(host="192.0.2.1", port=0))


async def test_a_check_that_hangs_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(service, "CHECK_SECONDS", 0.01)
    async with (
        serving([Service("test", [], {"hanging": hanging})]) as client,
        client.get("/readyz") as response,
    ):
        assert (await response.json())["reasons"] == ["test: a check did not answer within 0.01 s"]


async def notes_of(client: aiohttp.ClientSession) -> list[str]:
    async with client.get("/readyz") as response:
        assert response.status == 200
        notes: list[str] = (await response.json())["notes"]
        return notes


async def test_a_part_that_fails_again_and_again_is_a_note_until_it_has_run_well_for_a_while() -> None:
    clock, failing, running = TurnedClock(), asyncio.Queue[Exception](), asyncio.Event()

    async def part() -> None:
        if not failing.empty():
            raise failing.get_nowait()
        running.set()
        raise await failing.get()

    async def well() -> None:
        await asyncio.Event().wait()

    for _ in range(3):
        failing.put_nowait(RuntimeError("with a secret inside"))
    async with serving([Service("test", [])]) as client:
        async with background({"give back": part, "claim": well}, clock):
            await running.wait()
            ailing = "the part 'give back' failed {} and was begun again (last: {})"
            assert await notes_of(client) == [ailing.format("3 times", "RuntimeError")]
            clock.turn(WELL_SECONDS)
            assert await notes_of(client) == []
            failing.put_nowait(ValueError())
            await poll(failing.empty)
            assert await notes_of(client) == [ailing.format("once", "ValueError")]
        assert await notes_of(client) == []


async def test_the_process_tells_what_it_is_and_how_late_its_loop_runs() -> None:
    def sampled() -> float:
        return REGISTRY.get_sample_value("event_loop_lag_seconds_count", {"service": "test"}) or 0.0

    before = sampled()
    async with serving([Service("test", [])]) as client:
        await poll(lambda: sampled() > before)
        async with client.get("/metrics") as response:
            text = await response.text()
    for name in ("build_info{", "process_resident_memory_bytes ", "event_loop_lag_seconds_bucket{"):
        assert name in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_work_and_waits_for_its_end(number: signal.Signals) -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            steps.append("begun")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("ended")

    task = asyncio.create_task(until_signalled(work()))
    await poll(lambda: steps)
    os.kill(os.getpid(), number)
    await task
    assert steps == ["begun", "ended"]


async def test_an_error_that_came_through_a_task_group_is_still_itself() -> None:
    async def work() -> None:
        async with asyncio.TaskGroup():
            raise ConfigurationError("not like this")

    with pytest.raises(ConfigurationError, match="not like this"):
        await until_signalled(work())


async def test_work_that_fails_says_so() -> None:
    async def work() -> None:
        raise ConfigurationError("not like this")

    with pytest.raises(ConfigurationError, match="not like this"):
        await until_signalled(work())
