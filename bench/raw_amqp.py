"""What RabbitMQ and aio-pika allow here: single messages, confirmed, through a quorum queue, acknowledged."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from bench.fill import BODY_BYTES

_WINDOW = 200  # confirms waited for at once: the best of 100 to 500, more is slower again
_PREFETCH = 400
_QUEUE = "raw"


@dataclass(frozen=True, slots=True)
class Raw:
    """Messages per second."""

    published: float
    consumed: float
    both: float  # end to end, both at once


async def measured(url: str, number: int) -> Raw:
    """Publishes, then consumes, then does both at once."""
    async with await aio_pika.connect(url, timeout=10) as sending, await aio_pika.connect(url) as receiving:
        queue = await _queue(receiving)
        publishing = await _seconds(_publish(sending, number))
        consuming = await _seconds(_consume(queue, number))
        both = await _seconds(_together(sending, queue, number))
        await queue.delete(if_unused=False, if_empty=False)
    return Raw(number / publishing, number / consuming, number / both)


async def _queue(connection: aio_pika.abc.AbstractConnection) -> AbstractQueue:
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=_PREFETCH)
    return await channel.declare_queue(_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


async def _together(sending: aio_pika.abc.AbstractConnection, queue: AbstractQueue, number: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_consume(queue, number))
        tasks.create_task(_publish(sending, number))


async def _publish(connection: aio_pika.abc.AbstractConnection, number: int) -> None:
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    body, left = b"x" * BODY_BYTES, iter(range(number))

    async def send() -> None:
        for _ in left:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, _QUEUE, timeout=30)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_WINDOW):
            tasks.create_task(send())
    await channel.close()


async def _consume(queue: AbstractQueue, number: int) -> None:
    left, done = number, asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        nonlocal left
        await message.ack()
        left -= 1
        if left == 0:
            done.set()

    tag = await queue.consume(take)
    await done.wait()
    await queue.cancel(tag)


async def _seconds(work: Coroutine[object, object, None]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started
