"""Messages for programs outside: single CloudEvents under their type, at least once, whatever the broker does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import asyncpg
from aio_pika.abc import AbstractQueue

from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import EXCHANGE, ExternalDestination
from libs.common.db import open_pool
from libs.common.outbox.circuit import State
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.settings import CommonSettings
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

ERP = ExternalDestination("erp", "webhook.orders.#")
LEFT = "SELECT count(*) FROM webhooks.outbox WHERE destination = 'erp'"


@asynccontextmanager
async def producer_for_erp(database: str, broker_url: str) -> AsyncIterator[Producer]:
    settings = CommonSettings.load(database_url=database, rabbitmq_url=broker_url)
    async with (
        open_pool(settings) as pool,
        open_producer(settings, schema="webhooks", pool=pool, externals=[ERP]) as producer,
    ):
        yield producer


async def erp_queue(connection: aio_pika.abc.AbstractConnection) -> AbstractQueue:
    """What the other program does: its own queue, bound to the types it wants."""
    channel = await connection.channel()
    await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue("erp", durable=True)
    await queue.bind(EXCHANGE, routing_key="webhook.orders.#")
    return queue


def order(number: int) -> Draft:
    return Draft("webhook.orders.create", b'{"id": %d}' % number, shop="a.myshopify.com", key=str(number))


async def test_another_program_gets_a_cloudevent_and_the_row_ends(database: str, broker_url: str) -> None:
    conn = await asyncpg.connect(database)
    async with (
        await aio_pika.connect(broker_url) as connection,
        producer_for_erp(database, broker_url) as producer,
    ):
        queue = await erp_queue(connection)
        receipt = await producer.accept(order(1))
        await producer.accept(Draft("webhook.products.update", b"{}", shop="a.myshopify.com", key="p"))
        got = await poll(lambda: queue.get(fail=False, no_ack=True))
        assert got is not None
        assert (got.body, got.headers["cloudEvents:id"]) == (b'{"id": 1}', str(receipt.id))
        assert got.routing_key == "webhook.orders.create"

        async def ended() -> bool:
            return bool(await conn.fetchval(LEFT) == 0)

        await poll(ended)
        assert await queue.get(fail=False, no_ack=True) is None
    assert await conn.fetchval("SELECT count(*) FROM webhooks.outbox WHERE destination = 'worker'") == 2
    await conn.close()


async def test_a_message_waits_until_somebody_listens(database: str, broker_url: str) -> None:
    conn = await asyncpg.connect(database)
    async with producer_for_erp(database, broker_url) as producer:
        await producer.accept(order(1))
        tried = "SELECT deliveries FROM webhooks.outbox WHERE destination = 'erp'"

        async def was_tried() -> bool:
            return bool(await conn.fetchval(tried))

        await poll(was_tried, within=20)
        assert await conn.fetchval(LEFT) == 1
        assert producer.broker is not None
        assert producer.broker.circuit.state is not State.OPEN
    await conn.close()


async def test_all_that_was_stored_during_an_outage_goes_out_after_it(
    database: str, rabbit: RabbitNode
) -> None:
    """Wolverine #1430, #1514: after a reconnect only the first stored message went out, the others after a restart."""
    conn = await asyncpg.connect(database)
    async with producer_for_erp(database, rabbit.url) as producer:
        async with await aio_pika.connect(rabbit.url) as connection:
            await erp_queue(connection)
        await asyncio.to_thread(rabbit.kill)
        await asyncio.gather(*(producer.accept(order(number)) for number in range(120)))
        assert await conn.fetchval(LEFT) == 120
        await asyncio.to_thread(rabbit.start)

        async def ended() -> bool:
            return bool(await conn.fetchval(LEFT) == 0)

        await poll(ended, within=60)
        async with await aio_pika.connect(rabbit.url) as connection:
            queue = await erp_queue(connection)
            bodies = set()
            while (got := await queue.get(fail=False, no_ack=True)) is not None:
                bodies.add(got.body)
            await queue.delete(if_unused=False, if_empty=False)
    assert bodies == {b'{"id": %d}' % number for number in range(120)}
    await conn.close()
