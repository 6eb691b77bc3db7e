"""procrastinate.

docs/howto/basics/batch_defer.md: many jobs in one call. docs/howto/production/concurrency.md: `concurrency` for
asynchronous jobs, with a pool at least as large. docs/howto/production/delete_finished_jobs.md: `delete_jobs`, so that
finished ones do not pile up. At least once.
"""

from typing import Any

import asyncpg
import procrastinate

from bench.peer.program import BODY, WRITE, chunks, database, main, timed

_CONCURRENCY = 20


def _app() -> procrastinate.App:
    return procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=database(), max_size=_CONCURRENCY)
    )


def _arguments(number: int) -> dict[str, Any]:
    return {"body": BODY, "number": number}


async def put(number: int) -> None:
    app = _app()

    async def nothing(body: str, number: int) -> None:
        """Stands for the worker's task of the same name."""

    task = app.task(name="row")(nothing)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        async def defer() -> None:
            for chunk in chunks(number):
                await task.batch_defer_async(*map(_arguments, chunk))

        await timed(defer())


async def work() -> None:
    app = _app()
    pool = await asyncpg.create_pool(database(), min_size=_CONCURRENCY, max_size=_CONCURRENCY)

    async def write(body: str, number: int) -> None:  # noqa: ARG001 - the body travels, as with the others
        await pool.execute(WRITE, str(number))

    app.task(name="row")(write)
    async with app.open_async():
        await app.run_worker_async(concurrency=_CONCURRENCY, delete_jobs="successful")


if __name__ == "__main__":
    main(put, work)
