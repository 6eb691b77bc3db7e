"""A worker process whose handler dies of one message; `python -m tests.integration.poison_worker`."""

import asyncio
import os

from services.worker.sdk import Context, Message, on
from tests.integration.protocol import LONG, effect, registry, system

DIED = 86  # the exit code by which a test knows that the handler ended the process, and nothing else did


@on("webhook.#", together=10)
async def die_of_poison(message: Message, ctx: Context) -> None:
    if message.body == b"poison":
        os._exit(DIED)
    async with ctx.transaction() as tx:
        await effect(tx, message)


async def work(database: str, broker: str | None) -> None:
    async with (
        system(database, broker, consumer_lease_seconds=0.5, broker_lease_seconds=2.0) as one,
        one.working(registry(die_of_poison)),
    ):
        await one.finished(within=LONG)


if __name__ == "__main__":
    asyncio.run(work(os.environ["TEST_DATABASE"], os.environ.get("TEST_BROKER")))
