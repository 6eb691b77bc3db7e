"""pgqueuer.

docs/guides/performance-tuning.md: `durable` tables (the default), `pgq autovac` after the installation, a larger
`batch_size` for short jobs with `max_concurrent_tasks` at least twice that, one direct connection for the manager.
Enqueued in lists, as docs/getting-started says. At least once: the handler's row commits before the job is done.
"""

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.peer.program import BODY, WRITE, chunks, database, main, timed

_BATCH = 100


async def put(number: int) -> None:
    conn = await asyncpg.connect(database())
    queries = Queries.from_asyncpg_connection(conn)
    await queries.install()
    await queries.optimize_autovacuum()

    async def enqueue() -> None:
        for chunk in chunks(number):
            count = len(chunk)
            await queries.enqueue(["row"] * count, [BODY.encode()] * count, [0] * count)

    await timed(enqueue())
    await conn.close()


async def work() -> None:
    pool = await asyncpg.create_pool(database(), min_size=16, max_size=16)
    queuer = PgQueuer.from_asyncpg_connection(await asyncpg.connect(database()))

    async def write(job: Job) -> None:
        await pool.execute(WRITE, str(job.id))

    queuer.entrypoint("row")(write)
    await queuer.run(batch_size=_BATCH, max_concurrent_tasks=2 * _BATCH)


if __name__ == "__main__":
    main(put, work)
