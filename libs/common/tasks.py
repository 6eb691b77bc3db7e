"""Work that goes on for as long as the process does, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from libs.common.clock import Clock
from libs.common.metrics import TASK_RESTARTS

Part = Callable[[], Awaitable[None]]

_log = structlog.get_logger(__name__)
_PAUSE_SECONDS = 1.0


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
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - told and counted
            TASK_RESTARTS.labels(name).inc()
            _log.exception("A part of the service failed and is begun again.", task=name)
            await clock.sleep(_PAUSE_SECONDS)
        else:
            return
