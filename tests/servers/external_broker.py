"""A RabbitMQ that was given to the tests by `RABBITMQ_URL`: they clean up their own names there, and nothing else."""

import aio_pika

from libs.common.contracts import topology


async def clear_topology(url: str) -> None:
    """Deletes the queues and exchanges of shopbus, messages included."""
    async with await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel()
        for destination in topology.CONSUMERS:
            queues = [topology.queue_name(destination, lane) for lane in topology.Lane]
            for queue in (*queues, topology.dead_letter_queue(destination)):
                await channel.queue_delete(queue)
        for exchange in (topology.EXCHANGE, topology.DEAD_LETTER_EXCHANGE):
            await channel.exchange_delete(exchange)
