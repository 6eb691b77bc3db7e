"""The handlers of a chaos run. Each effect is a row without a key: a doubled effect shows."""

import asyncio
import os
import signal
import time
from pathlib import Path

from services.worker.sdk import Context, Message, Never, on
from tests.chaos.runs import Recorder
from tests.chaos.topics import LINK_TYPE

EFFECT = "INSERT INTO worker.chaos_effects (message_id, handler, root) VALUES ($1, $2, $3)"

_record = Recorder(Path(os.environ["CHAOS_RUNS"]), os.environ["CHAOS_NAME"])


async def _effect(message: Message, ctx: Context, handler: str, error: Exception | None = None) -> None:
    """Writes the effect, and raises the error where it should have none."""
    async with ctx.transaction() as tx:
        await asyncio.sleep(0.005)  # so that a kill finds open transactions
        await tx.execute(EFFECT, str(message.id), handler, str(message.id))
        if error is not None:
            raise error


@on("webhook.chaos.plain")
async def keep_plain(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "plain", message.shop):
        await _effect(message, ctx, "plain")


@on("webhook.chaos.together", together=20)
async def keep_together(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "together", message.shop):
        await _effect(message, ctx, "together")


@on("webhook.chaos.slow", per_shop=2)
async def keep_slow(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "slow", message.shop) as alive:
        for _ in range(10):
            await asyncio.sleep(0.015)
            alive()
        await _effect(message, ctx, "slow")


@on("webhook.chaos.chain")
async def begin_chain(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "chain", message.shop):
        await ctx.emit(LINK_TYPE, {"root": str(message.id)})
        await _effect(message, ctx, "chain")


@on(LINK_TYPE, batch=20)
async def end_chain(messages: list[Message], ctx: Context) -> None:
    with _record.run(str(messages[0].id), "link", messages[0].shop):
        rows = [(str(message.id), "link", message.json()["root"]) for message in messages]
        async with ctx.transaction() as tx:
            await tx.executemany(EFFECT, rows)


@on("webhook.chaos.refused")
async def refuse(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "refused", message.shop):
        await _effect(message, ctx, "refused", Never("this one is refused on purpose"))


@on("webhook.chaos.raises", retries=0)
async def fail_always(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "raises", message.shop):
        await _effect(message, ctx, "raises", RuntimeError("this one fails on purpose"))


@on("webhook.chaos.again")
async def fail_once(message: Message, ctx: Context) -> None:
    error = RuntimeError("the first attempt fails on purpose") if message.attempt == 1 else None
    with _record.run(str(message.id), "again", message.shop):
        await _effect(message, ctx, "again", error)


# Those below run only where a fault sends their topics.


@on("webhook.chaos.hangs", retries=0, timeout=2)
async def hang(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "hangs", message.shop):
        async with ctx.transaction() as tx:
            await tx.execute(EFFECT, str(message.id), "hangs", str(message.id))
            await asyncio.Event().wait()


@on("webhook.chaos.blocks")
async def block(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "blocks", message.shop):
        time.sleep(1.5)
        await _effect(message, ctx, "blocks")


@on("webhook.chaos.poison")
async def poison(message: Message, ctx: Context) -> None:
    with _record.run(str(message.id), "poison", message.shop):
        os.kill(os.getpid(), signal.SIGKILL)
