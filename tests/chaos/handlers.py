"""The handlers of a chaos run. Each effect is a row without a key: a doubled effect shows."""

import asyncio

from services.worker.sdk import Context, Message, Never, on

EFFECT = "INSERT INTO worker.chaos_effects (message_id, handler, root) VALUES ($1, $2, $3)"


async def _effect(message: Message, ctx: Context, handler: str, root: str | None = None) -> None:
    async with ctx.transaction() as tx:
        await asyncio.sleep(0.005)  # so that a kill finds open transactions
        await tx.execute(EFFECT, str(message.id), handler, root or str(message.id))


@on("webhook.chaos.plain")
async def keep_plain(message: Message, ctx: Context) -> None:
    await _effect(message, ctx, "plain")


@on("webhook.chaos.together", together=20)
async def keep_together(message: Message, ctx: Context) -> None:
    await _effect(message, ctx, "together")


@on("webhook.chaos.slow", per_shop=2)
async def keep_slow(message: Message, ctx: Context) -> None:
    await asyncio.sleep(0.05)
    await _effect(message, ctx, "slow")


@on("webhook.chaos.chain")
async def begin_chain(message: Message, ctx: Context) -> None:
    await ctx.emit("chaos.link", {"root": str(message.id)})
    await _effect(message, ctx, "chain")


@on("chaos.link", batch=20)
async def end_chain(messages: list[Message], ctx: Context) -> None:
    async with ctx.transaction() as tx:
        rows = [(str(message.id), "link", message.json()["root"]) for message in messages]
        await tx.executemany(EFFECT, rows)


@on("webhook.chaos.refused")
async def refuse(message: Message, ctx: Context) -> None:
    raise Never("this one is refused on purpose")
