"""What is known of a handler's run, however it ended."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.runs import Recorder, read_runs

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.chaos.runs import Recorder
with Recorder(Path(sys.argv[1]), "worker0").run("m1", "slow", "a.myshopify.com") as alive:
    alive()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_goes_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    with Recorder(tmp_path, "worker0").run("m1", "slow", "a.myshopify.com"):
        pass
    [run] = read_runs(tmp_path)
    assert (run.message_id, run.handler, run.shop) == ("m1", "slow", "a.myshopify.com")
    assert run.process == f"worker0-{os.getpid()}"
    assert run.began < run.last


def test_a_run_that_raises_has_ended(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Recorder(tmp_path, "worker0").run("m1", "slow", "a"):
        raise RuntimeError
    [run] = read_runs(tmp_path)
    assert run.began < run.last


async def test_a_run_that_is_cancelled_ends_at_its_last_sign_of_life(tmp_path: Path) -> None:
    recorder, going = Recorder(tmp_path, "worker0"), asyncio.Event()

    async def work() -> None:
        with recorder.run("m1", "slow", "a") as alive:
            alive()
            going.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await going.wait()
    [before] = read_runs(tmp_path)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert read_runs(tmp_path) == [before]


def test_a_kill_loses_no_sign_of_life(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    [run] = read_runs(tmp_path)
    assert run.began < run.last


def test_runs_of_one_process_and_of_several_are_told_apart(tmp_path: Path) -> None:
    first, second = Recorder(tmp_path, "worker0"), Recorder(tmp_path, "worker1")
    with first.run("m1", "slow", "a"), second.run("m2", "slow", "a"), first.run("m3", "plain", "b"):
        pass
    assert [(run.message_id, run.process.partition("-")[0]) for run in read_runs(tmp_path)] == [
        ("m1", "worker0"),
        ("m2", "worker1"),
        ("m3", "worker0"),
    ]
