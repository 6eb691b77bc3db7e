"""Work that goes on for as long as the process does, whatever happens to it."""

from collections.abc import Awaitable, Callable

import structlog

from libs.common.clock import Clock
from libs.common.metrics import TASK_RESTARTS

_log = structlog.get_logger(__name__)
_PAUSE_SECONDS = 1.0


async def for_ever(name: str, work: Callable[[], Awaitable[None]], clock: Clock) -> None:
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
