"""The handlers of the simulation, one for each way in which work can go.

Each effect is a row without a key, so that a doubled effect shows.
"""

import asyncio
import sys
from collections.abc import Callable

from libs.common.contracts.envelope import Message
from libs.common.db import Connection
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import collect, on
from libs.common.runtime.outcomes import Never
from tests.chaos import topics as chaos
from tests.chaos.topics import Kind
from tests.simulation.diary import SURROUNDINGS, noted

EFFECTS, EFFECT_COLUMNS = "worker.chaos_effects", ("message_id", "handler", "root")
EFFECT = "INSERT INTO worker.chaos_effects (message_id, handler, root) VALUES ($1, $2, $3)"
LINK_TYPE, QUIET_TYPE = "chaos.link", "webhook.chaos.quiet"
LIMITS = {"slow": 1}
TOPICS = chaos.TOPICS | {"chaos/quiet": Kind("quiet"), "chaos/long": Kind("long")}

SLOW_SECONDS = 0.8
LONG_SECONDS = 3.0  # longer than a consumer's lease in the simulation
_SIGN_OF_LIFE_SECONDS = 0.2


async def effect(tx: Connection, message: Message, handler: str, root: str | None = None) -> None:
    await tx.execute(EFFECT, str(message.id), handler, root or str(message.id))


async def work(seconds: float, alive: Callable[[], None]) -> None:
    """Takes its time, with signs of life."""
    for _ in range(round(seconds / _SIGN_OF_LIFE_SECONDS)):
        await asyncio.sleep(_SIGN_OF_LIFE_SECONDS)
        alive()


@on("webhook.chaos.plain")
async def plain(message: Message, ctx: Context) -> None:
    with noted("plain", message):
        async with ctx.transaction() as tx:
            await effect(tx, message, "plain")


@on(QUIET_TYPE)
async def quiet(message: Message, ctx: Context) -> None:
    """Has no transaction of its own: its end shares a commit with others, and is all there is of it."""
    with noted("quiet", message):
        await asyncio.sleep(0.01)


@on("webhook.chaos.together", together=20)
async def together(message: Message, ctx: Context) -> None:
    with noted("together", message):
        async with ctx.transaction() as tx:
            await effect(tx, message, "together")


@on("webhook.chaos.chain")
async def chain(message: Message, ctx: Context) -> None:
    with noted("chain", message):
        await ctx.emit(LINK_TYPE, {"root": str(message.id)})
        async with ctx.transaction() as tx:
            await effect(tx, message, "chain")


@on(LINK_TYPE, batch=20)
async def link(messages: list[Message], ctx: Context) -> None:
    with noted("link", *messages):
        async with ctx.transaction() as tx:
            for message in messages:
                await effect(tx, message, "link", message.json()["root"])


@on("webhook.chaos.slow", per_shop=LIMITS["slow"])
async def slow(message: Message, ctx: Context) -> None:
    with noted("slow", message) as alive:
        await work(SLOW_SECONDS, alive)
        async with ctx.transaction() as tx:
            await effect(tx, message, "slow")
            alive()


@on("webhook.chaos.long")
async def long(message: Message, ctx: Context) -> None:
    with noted("long", message) as alive:
        await work(LONG_SECONDS, alive)
        async with ctx.transaction() as tx:
            await effect(tx, message, "long")


@on("webhook.chaos.again", retries=1)
async def again(message: Message, ctx: Context) -> None:
    with noted("again", message):
        async with ctx.transaction() as tx:
            await effect(tx, message, "again")
            if message.attempt == 1:
                raise RuntimeError("the first attempt fails on purpose")


@on("webhook.chaos.raises", retries=0)
async def raises(message: Message, ctx: Context) -> None:
    with noted("raises", message):
        async with ctx.transaction() as tx:
            await effect(tx, message, "raises")
            raise RuntimeError("this one fails on purpose")


@on("webhook.chaos.refused")
async def refused(message: Message, ctx: Context) -> None:
    with noted("refused", message):
        async with ctx.transaction() as tx:
            await effect(tx, message, "refused")
            raise Never("this one is refused on purpose")


@on("webhook.chaos.hangs", retries=0, timeout=2)
async def hangs(message: Message, ctx: Context) -> None:
    with noted("hangs", message):
        async with ctx.transaction() as tx:
            await effect(tx, message, "hangs")
            await asyncio.Event().wait()


@on("webhook.chaos.poison")
async def poison(message: Message, ctx: Context) -> None:
    with noted("poison", message):
        await SURROUNDINGS.get().die()


REGISTRY = collect([sys.modules[__name__]])
