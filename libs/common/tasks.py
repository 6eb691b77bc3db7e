"""Work that goes on for as long as the process does, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from libs.common.clock import Clock
from libs.common.metrics import TASK_RESTARTS

Part = Callable[[], Awaitable[None]]

WELL_SECONDS = 300.0  # without a failure; only then a part counts as well again
_PAUSE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class _Run:
    """One part from its start to its end, with the failures it has not outlived yet."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._failures = 0
        self._cause, self._last = "", 0.0

    @property
    def ailing(self) -> bool:
        return self._failures > 0 and self._clock.monotonic() - self._last < WELL_SECONDS

    def failed(self, error: Exception) -> None:
        self._failures = self._failures + 1 if self.ailing else 1
        self._cause, self._last = type(error).__name__, self._clock.monotonic()

    def __str__(self) -> str:
        times = "once" if self._failures == 1 else f"{self._failures} times"
        return f"the part '{self._name}' failed {times} and was begun again (last: {self._cause})"


_runs: set[_Run] = set()  # of this process, as its metrics are


def ailing_parts() -> list[str]:
    """What to say of the parts of this process that failed and have not run well for long enough since."""
    return sorted(str(run) for run in _runs if run.ailing)


@asynccontextmanager
async def background(parts: Mapping[str, Part], clock: Clock) -> AsyncIterator[None]:
    """Runs these parts until the block is left."""
    tasks = [asyncio.create_task(for_ever(name, part, clock), name=name) for name, part in parts.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def for_ever(name: str, work: Part, clock: Clock) -> None:
    """Runs `work`, and begins it again when it fails: a fault nobody foresaw ends one turn and not the service."""
    run = _Run(name, clock)
    _runs.add(run)
    try:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - told and counted
                TASK_RESTARTS.labels(name).inc()
                run.failed(error)
                _log.exception("A part of the service failed and is begun again.", task=name)
                await clock.sleep(_PAUSE_SECONDS)
            else:
                return
    finally:
        _runs.discard(run)
