"""Work under a fence takes no step while what it runs under may be lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from libs.common.runtime.fence import Fenced


class Gate:
    """A hold that the test turns."""

    def __init__(self) -> None:
        self.open, self.gone = True, False
        self.asked = 0
        self._changed = asyncio.Event()

    def sure(self) -> bool:
        return self.open

    def lost(self) -> bool:
        return self.gone

    async def prove(self) -> None:
        self.asked += 1
        self._changed.clear()
        await self._changed.wait()

    def turn(self, *, sure: bool = False, gone: bool = False) -> None:
        self.open, self.gone = sure, gone
        self._changed.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def settled() -> None:
    """Lets everything that can run now run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_work_that_is_never_in_doubt_runs_through(gate: Gate) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await Fenced(work(), gate) == 7
    assert gate.asked == 0


async def test_an_error_of_the_work_comes_out(gate: Gate) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await Fenced(work(), gate)


async def steps_until_doubt(gate: Gate, fail: Callable[[], Awaitable[None]] | None = None) -> list[str]:
    """Work that notes its steps; the hold is in doubt after the first, and sure again once the test has looked."""
    seen: list[str] = []

    async def work() -> None:
        seen.append("first")
        with suppress(LookupError):
            await (fail() if fail else asyncio.sleep(0))
        seen.append("second")

    async def run() -> None:
        await Fenced(work(), gate)

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    gate.turn(sure=False)
    await settled()
    assert seen == ["first"]
    assert gate.asked == 1
    gate.turn(sure=True)
    await running
    return seen


async def test_a_step_waits_until_the_hold_is_sure_again(gate: Gate) -> None:
    assert await steps_until_doubt(gate) == ["first", "second"]


async def test_an_awaited_failure_is_not_handled_while_in_doubt(gate: Gate) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    assert await steps_until_doubt(gate, fail) == ["first", "second"]


async def test_the_first_step_waits_too(gate: Gate) -> None:
    seen = []

    async def work() -> None:
        seen.append("began")

    async def run() -> None:
        await Fenced(work(), gate)

    gate.turn(sure=False)
    running = asyncio.create_task(run())
    await settled()
    assert seen == []
    gate.turn(sure=True)
    await running
    assert seen == ["began"]


async def test_no_step_follows_when_asking_shows_that_the_hold_is_lost(gate: Gate) -> None:
    """The work's own task may be the one that finds it out, and its cancellation comes at its next await."""
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            seen.append("went on")
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cleaned up")
            raise

    async def ask_and_lose() -> None:
        gate.turn(gone=True)
        running.cancel()

    async def run() -> None:
        await Fenced(work(), gate)

    gate.prove = ask_and_lose  # type: ignore[method-assign]
    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    gate.turn(sure=False)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen == ["cleaned up"]


async def test_a_cancelled_work_cleans_up_without_waiting(gate: Gate) -> None:
    """Whoever loses the hold cancels the work; its cleaning up must end although nothing is sure any more."""
    seen = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    async def run() -> None:
        await Fenced(work(), gate)

    running = asyncio.create_task(run())
    await settled()
    gate.turn(gone=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen == ["cleaned up"]


async def test_a_cancellation_that_comes_while_in_doubt_reaches_the_work(gate: Gate) -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            seen.append("went on")
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def run() -> None:
        await Fenced(work(), gate)

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    gate.turn(sure=False)
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen == ["cancelled"]
