"""The handlers of the benchmarks: each writes one row."""

from services.worker.sdk import Context, Message, on

WRITE = "INSERT INTO worker.bench_rows (message_id) VALUES ($1)"
WRITE_MANY = "INSERT INTO worker.bench_rows (message_id) SELECT unnest($1::text[])"


@on("webhook.bench.one")
async def write_one(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await tx.execute(WRITE, str(message.id))


@on("webhook.bench.together", together=50)
async def write_together(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await tx.execute(WRITE, str(message.id))


@on("webhook.bench.batch", batch=100)
async def write_batch(messages: list[Message], ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await tx.execute(WRITE_MANY, [str(message.id) for message in messages])
