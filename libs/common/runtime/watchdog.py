"""Reports, by name, the handler that keeps the event loop from running: a thread looks from outside."""

import asyncio
import sys
import threading
import time
import traceback

import structlog

from libs.common.runtime import metrics

_log = structlog.get_logger(__name__)

TASK_PREFIX = "handler "


class Watchdog:
    """Watches one event loop. `limit` is how many seconds it may stand still."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, limit: float = 1.0) -> None:
        self._loop = loop
        self._limit = limit
        self._thread_id = threading.get_ident()
        self._beat = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Call it in the loop's own thread."""
        self._pulse()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _pulse(self) -> None:
        self._beat = time.monotonic()
        if not self._stop.is_set():
            self._loop.call_later(self._limit / 4, self._pulse)

    def _watch(self) -> None:
        reported = 0.0
        while not self._stop.wait(self._limit / 4):
            beat = self._beat
            if beat != reported and time.monotonic() - beat > self._limit:
                reported = beat
                self._report()

    def _report(self) -> None:
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task else ""
        handler = name.removeprefix(TASK_PREFIX) if name.startswith(TASK_PREFIX) else "none"
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - the documented way to look at a thread
        metrics.LOOP_BLOCKED.labels(handler).inc()
        _log.error(
            "The event loop stands still: this handler blocks it. Use async calls, or asyncio.to_thread.",
            handler=handler,
            blocked_for_more_than_seconds=self._limit,
            stack="".join(traceback.format_stack(frame)[-6:]) if frame else "",
        )
