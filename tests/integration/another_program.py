"""A program outside that wants messages of ours, and producers that have some for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractQueue
from pydantic import SecretStr

from libs.common.clock import Clock
from libs.common.contracts.topology import EXCHANGE, ExternalDestination
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from tests.integration.protocol import System, trusted

ERP = ExternalDestination("erp", "erp.#")


@asynccontextmanager
async def only_storing(one: System, clock: Clock | None = None) -> AsyncIterator[Producer]:
    """A producer that stores for us and for another program, and brings neither anything."""
    alone = one.settings.model_copy(update={"rabbitmq_url": None})
    async with (
        open_pool(alone) as pool,
        open_producer(alone, schema="webhooks", pool=pool, externals=[ERP], clock=clock) as producer,
    ):
        yield producer


@asynccontextmanager
async def relaying(one: System, broker_url: str) -> AsyncIterator[Producer]:
    """A producer that relays to another program."""
    settings = one.settings.model_copy(update={"rabbitmq_url": SecretStr(broker_url)})
    async with (
        open_pool(settings) as pool,
        open_producer(settings, schema="webhooks", pool=pool, externals=[ERP]) as producer,
    ):
        await trusted(producer)
        yield producer


@asynccontextmanager
async def erp_listens(broker_url: str) -> AsyncIterator[AbstractQueue]:
    """The other program's queue."""
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("erp", durable=True)
        await queue.bind(EXCHANGE, routing_key=ERP.pattern)
        yield queue


async def drained(queue: AbstractQueue) -> set[str]:
    """The ids of all messages in a queue, which is empty then."""
    ids = set()
    while (got := await queue.get(fail=False, no_ack=True)) is not None:
        ids.add(str(got.headers["cloudEvents:id"]))
    return ids
