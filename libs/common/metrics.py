"""Metrics that every process has, with kind, unit and meaning, and the page that shows them all."""

import asyncio
import platform
import sys
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import REGISTRY, Counter, Histogram, Info, generate_latest

from libs.common.clock import Clock, SystemClock


class BulkHistogram(Histogram):
    """A histogram that takes many values for little more than the price of one: a batch ends a hundred messages."""

    def observe_all(self, values: Sequence[float]) -> None:
        """As if each had been observed."""
        if not values:
            return
        self._sum.inc(sum(values))
        for bucket, number in Tally(bisect_left(self._upper_bounds, value) for value in values).items():
            self._buckets[bucket].inc(number)


# Shopify gives up on a delivery after 5 seconds and wants to be connected within 1, so the steps are small there.
_REQUEST_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5),
    *(2.0, 2.5, 3.0, 4.0, 4.5, 4.8, 5.0),
)
_REQUEST_LABELS = ("service", "route", "method", "status")

HTTP_REQUESTS = Counter("http_requests_total", "Requests that were answered.", _REQUEST_LABELS)
HTTP_SECONDS = Histogram(
    "http_request_duration_seconds",
    "From a request's headers to its answer.",
    _REQUEST_LABELS,
    buckets=_REQUEST_BUCKETS,
)
LOOP_LAG = Histogram(
    "event_loop_lag_seconds",
    "How much later than asked for the event loop woke a sleeper.",
    ["service"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
TASK_RESTARTS = Counter(
    "task_restarts_total", "Times a part that runs for ever failed and was begun again.", ["task"]
)
LOG_LINES_LOST = Counter("log_lines_lost_total", "Log lines that could not be written, as on a full disk.")
SESSION_TOKENS = Counter(
    "session_tokens_total",
    "Session tokens shown to a route, by the secret that signed them: current, old, none (refused).",
    ["key"],
)
TOKEN_FETCHES = Counter(
    "token_cache_requests_total",
    "Access tokens asked for in a process, by where from: hit (cache), joined (a request under way), miss (auth).",
    ["result"],
)
TOKEN_ENDINGS = Counter(
    "token_cache_endings_total",
    "Access tokens that left a process's cache, by cause: evicted (no room), expired, dropped (rotated, uninstalled).",
    ["cause"],
)
TOKEN_FAULTS = Counter(
    "token_cache_faults_total",
    "Requests for a token that auth did not give, by cause: not_installed, needs_authorization, away, refused.",
    ["cause"],
)
BUILD = Info("build", "What is running.")  # exposed as build_info

_LAG_STEP = 0.25


def describe_build() -> None:
    """Fills `build_info` with the versions of shopbus and of Python."""
    try:
        release = version("shopbus")
    except PackageNotFoundError:  # run from a source tree that is not installed
        release = "source"
    BUILD.info(
        {"version": release, "python": platform.python_version(), "implementation": sys.implementation.name}
    )


@asynccontextmanager
async def loop_lag_sampled(service: str, clock: Clock | None = None) -> AsyncIterator[None]:
    """Measures the event loop's lag for as long as the block runs."""
    task = asyncio.create_task(_sample_lag(service, clock or SystemClock()))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sample_lag(service: str, clock: Clock) -> None:
    lag = LOOP_LAG.labels(service)
    while True:
        asked = clock.monotonic()
        await clock.sleep(_LAG_STEP)
        lag.observe(max(0.0, clock.monotonic() - asked - _LAG_STEP))


def exposition() -> bytes:
    """All metrics of the process in Prometheus' text format."""
    return generate_latest(REGISTRY)
