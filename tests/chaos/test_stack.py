"""The processes of a run: none outlives it, and those that end are started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.process import Build, dying_at
from tests.chaos.stack import Stack
from tests.servers.ports import accepts, free_port
from tests.waiting import poll

ROOT = Path(__file__).parents[2]
PARENT = """
import sys
from pathlib import Path
from tests.chaos.stack import Stack
stack = Stack(Path(sys.argv[1]), {"webhooks": (sys.argv[2], sys.argv[3])})
stack.start("webhooks")
print(stack.pid("webhooks"), flush=True)
sys.stdin.read()
"""


def nowhere() -> tuple[str, str]:
    """URLs of servers that are not there: the services start all the same."""
    return f"postgresql://a:b@127.0.0.1:{free_port()}/x", f"amqp://a:b@127.0.0.1:{free_port()}/"


def port(stack: Stack, name: str) -> int:
    return int(stack.base(name).rpartition(":")[2])


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, {"webhooks": nowhere()}) as running:
        yield running


async def test_a_process_that_was_killed_from_inside_is_started_again(stack: Stack) -> None:
    await poll(lambda: accepts(port(stack, "webhooks")), within=30)
    before = stack.pid("webhooks")
    os.kill(before, signal.SIGKILL)
    await poll(stack.dead)
    assert not stack.alive("webhooks")
    stack.revive()
    assert stack.pid("webhooks") != before
    assert (stack.killed, stack.troubles) == (["webhooks"], [])
    await poll(lambda: accepts(port(stack, "webhooks")), within=30)  # where it was before


async def test_a_process_that_ends_in_any_other_way_is_remembered(stack: Stack) -> None:
    os.kill(stack.pid("webhooks"), signal.SIGABRT)
    await poll(stack.dead)
    stack.revive()
    [trouble] = stack.troubles
    assert trouble.process == "webhooks"
    assert trouble.text == f"ended by itself with code {-signal.SIGABRT}"
    assert stack.alive("webhooks")


async def test_an_order_to_stop_is_followed_in_order(stack: Stack) -> None:
    await poll(lambda: accepts(port(stack, "webhooks")), within=30)
    assert stack.stop("webhooks") == 0
    assert not stack.alive("webhooks")


async def test_a_build_that_cannot_be_made_is_told_and_not_run(tmp_path: Path) -> None:
    with Stack(tmp_path, {"webhooks": nowhere()}, {"webhooks": Build(kill_at="no such step")}) as stack:
        await poll(stack.dead, within=30)
        assert "no such fault point: no such step" in stack.log("webhooks").read_text()
        assert dying_at("received, not stored") not in stack.log("webhooks").read_text()


async def test_no_process_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path, *nowhere()],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.communicate()
    await poll(lambda: not psutil.pid_exists(child), within=30)
