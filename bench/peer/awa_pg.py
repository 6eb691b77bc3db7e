"""awa (awa-pg).

Its README: `enqueue_many_copy` for producers of many jobs. docs/benchmarking.md and its own
awa-python/scripts/benchmark_runtime.py: one queue with a large pool of workers rather than many small ones, and
`max_connections` of the workers and ten more, 50 at least. At least once.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import asyncpg
import awa

from bench.peer.program import BODY, WRITE, chunks, database, main, timed

_WORKERS = 64
_QUEUE = "row"


@dataclass
class Row:
    """The job's arguments."""

    number: int
    body: str


async def put(number: int) -> None:
    client = awa.AsyncClient(database(), max_connections=50)
    await client.migrate()
    await client.install_queue_storage()

    async def enqueue() -> None:
        for chunk in chunks(number):
            await client.enqueue_many_copy([Row(n, BODY) for n in chunk], queue=_QUEUE)

    await timed(enqueue())
    await client.close()


async def work() -> None:
    client = awa.AsyncClient(database(), max_connections=_WORKERS + 10)
    pool = await asyncpg.create_pool(database(), min_size=16, max_size=16)

    async def write(job: Any) -> None:
        await pool.execute(WRITE, str(job.args.number))

    client.task(Row, queue=_QUEUE)(write)
    await client.start([(_QUEUE, _WORKERS)], poll_interval_ms=50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(put, work)
