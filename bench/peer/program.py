"""The command line of a peer, and the body of its jobs."""

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import uvloop

from bench.fill import BODY_BYTES

BODY = "x" * BODY_BYTES
WRITE = "INSERT INTO worker.bench_rows (message_id) VALUES ($1)"
WRITE_WITH_PSYCOPG = "INSERT INTO worker.bench_rows (message_id) VALUES (%s)"
CHUNK = 1_000  # jobs for one call of those who take many
CALLERS = 100  # callers at once for those who take one at a time, and can be called concurrently


def database() -> str:
    return os.environ["DATABASE_URL"]


def broker() -> str:
    return os.environ["RABBITMQ_URL"]


def chunks(number: int) -> Iterator[range]:
    """The numbers of the jobs, in chunks."""
    for first in range(0, number, CHUNK):
        yield range(first, min(number, first + CHUNK))


async def timed(work: Awaitable[object]) -> None:
    """Prints the seconds it took."""
    started = time.perf_counter()
    await work
    print(time.perf_counter() - started)  # noqa: T201 - read by the benchmark


def timed_by_hand(work: Callable[[], object]) -> None:
    """`timed` for what is not asynchronous."""
    started = time.perf_counter()
    work()
    print(time.perf_counter() - started)  # noqa: T201


def main(
    put: Callable[[int], Coroutine[Any, Any, None]], work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Does what the command line says, on uvloop like our own services."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # there is nothing to tidy: the database is dropped
    uvloop.run(put(int(sys.argv[2])) if sys.argv[1] == "put" else work())
