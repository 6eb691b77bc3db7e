"""faststream-outbox.

docs/concepts/performance.md: `publish_batch`, more `max_workers` and a larger `fetch_batch_size`,
`terminal_flush_batch_size` for high throughput, `outbox_autovacuum_ddl` once. With batched deletes it is at least once,
and so it is without: the handler's row commits before the outbox row goes.
"""

import asyncpg
from faststream import FastStream
from faststream_outbox import OutboxBroker, make_outbox_table, outbox_autovacuum_ddl
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.peer.program import BODY, WRITE, chunks, database, main, timed

_WORKERS, _BATCH = 16, 100

metadata = MetaData()
outbox = make_outbox_table(metadata, table_name="outbox")


def _engine() -> AsyncEngine:
    return create_async_engine(
        database().replace("postgresql://", "postgresql+asyncpg://"), pool_size=_WORKERS + 4
    )


async def put(number: int) -> None:
    engine = _engine()
    async with engine.begin() as conn:
        await conn.run_sync(metadata.create_all)
        await conn.execute(text(outbox_autovacuum_ddl("outbox", vacuum_cost_delay=0)))
    broker = OutboxBroker(engine, outbox_table=outbox)

    async def publish() -> None:
        for chunk in chunks(number):
            async with engine.begin() as conn:
                await broker.publish_batch(*((f"{n} {BODY}") for n in chunk), queue="row", session=conn)

    await timed(publish())
    await engine.dispose()


async def work() -> None:
    broker = OutboxBroker(_engine(), outbox_table=outbox, logger=None)
    pool = await asyncpg.create_pool(database(), min_size=_WORKERS, max_size=_WORKERS)
    subscribe = broker.subscriber(
        "row", max_workers=_WORKERS, fetch_batch_size=_BATCH, min_fetch_interval=0.01,
        terminal_flush_batch_size=_BATCH,
    )  # fmt: skip

    async def write(body: str) -> None:
        await pool.execute(WRITE, body.partition(" ")[0])

    subscribe(write)
    await FastStream(broker).run()


if __name__ == "__main__":
    main(put, work)
