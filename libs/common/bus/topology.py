"""Declares in RabbitMQ what `libs.common.contracts.topology` says."""

from collections.abc import Sequence

from aiormq.abc import AbstractChannel
from pamqp.common import FieldTable

from libs.common.contracts.topology import (
    BROKER_DELIVERY_LIMIT,
    DEAD_LETTER_EXCHANGE,
    EXCHANGE,
    Lane,
    dead_letter_queue,
    queue_name,
    work_key,
)

_QUORUM: FieldTable = {"x-queue-type": "quorum"}


async def declare(channel: AbstractChannel, destinations: Sequence[str]) -> None:
    """Exchanges and queues of these destinations; harmless to repeat. The caller sets the deadline."""
    await channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    await channel.exchange_declare(DEAD_LETTER_EXCHANGE, exchange_type="direct", durable=True)
    for destination in destinations:
        await _declare_dead_letters(channel, destination)
        for lane in Lane:
            await _declare_lane(channel, destination, lane)


async def _declare_dead_letters(channel: AbstractChannel, destination: str) -> None:
    name = dead_letter_queue(destination)
    await channel.queue_declare(name, durable=True, arguments=_QUORUM)
    await channel.queue_bind(name, DEAD_LETTER_EXCHANGE, routing_key=name)


async def _declare_lane(channel: AbstractChannel, destination: str, lane: Lane) -> None:
    name = queue_name(destination, lane)
    limits: FieldTable = {
        "x-delivery-limit": BROKER_DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
        "x-dead-letter-routing-key": dead_letter_queue(destination),
    }
    await channel.queue_declare(name, durable=True, arguments=_QUORUM | limits)
    await channel.queue_bind(name, EXCHANGE, routing_key=work_key(destination, lane))
