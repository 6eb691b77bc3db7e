"""What counts as trouble in the processes' logs, and what a world's history holds."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.checker import violations
from tests.chaos.collect import collect, complaints
from tests.chaos.conftest import OpenWorld
from tests.chaos.history import Trouble
from tests.chaos.stack import Stack

WARNING = '{"level":"warning","event":"RabbitMQ cannot be trusted","logger":"x"}'
FAILURE = '{"level":"error","event":"A part failed.","exception":"Traceback …\\nKeyError: 1"}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (FAILURE, "A part failed. Traceback …\nKeyError: 1"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("Fatal Python error: Segmentation fault", "Fatal Python error: Segmentation fault"),
        ("Exception ignored in: <coroutine>", "Exception ignored in: <coroutine>"),
        ("shopbus worker: cannot start: PORT", "shopbus worker: cannot start: PORT"),
    ],
)
def test_a_crash_and_a_traceback_are_trouble(tmp_path: Path, line: str, said: str) -> None:
    stack = Stack(tmp_path, {"webhooks": ("", ""), "worker0": ("", "")})
    stack.log("worker0").write_text(f"{WARNING}\n{line}\n{WARNING}\n")
    assert list(complaints(stack)) == [Trouble("worker0", said)]


@pytest.mark.parametrize("line", [WARNING, "", "dying at the point: claimed, not started", "[1, 2]"])
def test_other_lines_are_not(tmp_path: Path, line: str) -> None:
    stack = Stack(tmp_path, {"webhooks": ("", "")})
    stack.log("webhooks").write_text(f"{line}\n")
    assert list(complaints(stack)) == []


@pytest.mark.timeout(200)
async def test_the_history_of_a_world_that_nobody_broke(chaos: OpenWorld) -> None:
    """Each kind of record is there, and their clocks agree."""
    async with chaos(workers=1) as world:
        sending = asyncio.create_task(world.traffic.run())
        await world.on_route("postgres")
        await world.flowing(100)
        world.traffic.finish()
        await sending
        await world.drained()
        history = await collect(world)
    assert violations(history) == []
    accepted = {r.message_id: r for r in history.requests if r.message_id is not None}
    assert accepted.keys() == {stored.message_id for stored in history.stored if stored.key is not None}
    assert {stored.source for stored in history.stored} == {"webhooks", "worker"}
    assert {failed.reason for failed in history.failed} == {"never", "exhausted"}
    assert {ended.log for ended in history.ended} >= {
        (),
        ("RuntimeError: the first attempt fails on purpose",),
    }
    runs = {run.message_id: run for run in history.runs}
    for effect in history.effects:
        if effect.handler == "plain":
            assert accepted[effect.message_id].invoked < runs[effect.message_id].began < effect.at
            assert effect.at < runs[effect.message_id].last
