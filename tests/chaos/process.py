"""Runs a service as a test build: `python -m tests.chaos.process worker`.

Production code holds no switches for it: what differs is replaced from outside, before the service starts.
"""

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import orjson

from libs.common.clock import SystemClock
from libs.common.outbox.faults import POINTS, FaultPoints, Point
from libs.common.service import main

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Build:
    """What a process differs in from the one that is deployed; told to it by its environment."""

    kill_at: str | None = None  # the name of a fault point
    kill_after: int = 1  # the process kills itself when it reaches that point for the n-th time
    bug: str | None = None  # a name in tests/chaos/bugs.py
    clock_offset: float = 0.0  # seconds by which this process's wall clock is wrong
    settings: Mapping[str, str] = field(default_factory=dict)  # environment variables

    def written(self) -> str:
        """As text, for the environment."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def read(cls, text: str) -> Self:
        """What `written` wrote."""
        return cls(**orjson.loads(text))


PLAIN = Build()


def die_with_parent() -> None:
    """Ends this process when the one that tests is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ["CHAOS_PARENT"]):
        sys.exit("the process that started this one is gone")


def apply(build: Build) -> None:
    """Changes this process into the build, from outside."""
    if build.bug is not None:
        importlib.import_module("tests.chaos.bugs").BUGS[
            build.bug
        ].apply()  # a plain build does not import them
    if build.kill_at is not None:
        _kill_at(build.kill_at, build.kill_after)
    if build.clock_offset:
        _turn_clock(timedelta(seconds=build.clock_offset))


def dying_at(point: Point) -> str:
    """What a process logs before it kills itself."""
    return f"dying at the point: {point}"


def _kill_at(point: str, times: int) -> None:
    if point not in POINTS:
        raise ValueError(f"no such fault point: {point}")
    reached, left = FaultPoints.reach, times

    async def reach(self: FaultPoints, name: Point) -> None:
        nonlocal left
        left -= name == point
        if name == point and left <= 0:
            os.write(sys.stderr.fileno(), f"{dying_at(name)}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        await reached(self, name)

    FaultPoints.reach = reach  # type: ignore[assignment,method-assign]


def _turn_clock(offset: timedelta) -> None:
    def now(_: SystemClock) -> datetime:
        return datetime.now(UTC) + offset

    SystemClock.now = now  # type: ignore[assignment,method-assign]


def run(service: str) -> None:
    """The service's own main."""
    app = importlib.import_module(f"services.{service}.app")
    config = importlib.import_module(f"services.{service}.config")
    main(service, config.Settings, app.run)


def begin(service: str) -> None:
    """Becomes the service that the environment describes."""
    die_with_parent()
    apply(Build.read(os.environ["CHAOS_BUILD"]))
    run(service)


if __name__ == "__main__":
    begin(sys.argv[1])
