"""What `shopbus doctor` asks RabbitMQ."""

import logging
from collections.abc import Iterator

from libs.common.bus.errors import BusError, ChannelLost
from libs.common.bus.link import BrokerOptions, Link
from libs.common.contracts.topology import CONSUMERS, Lane, dead_letter_queue, queue_name
from libs.common.errors import ConfigurationError
from libs.common.settings import CommonSettings
from services.cli.findings import Finding, note, ok, wrong

_GOODBYE_SECONDS = 1.0


async def check_broker(settings: CommonSettings) -> list[Finding]:
    """Reachable, not blocked by an alarm, and with its queues."""
    if settings.rabbitmq_url is None:
        return [note("broker", "RABBITMQ_URL is not set: everything runs on Postgres alone, which is fine")]
    for library in ("aio_pika", "aiormq"):  # which would print what the finding says in better words
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        link = await Link.open(BrokerOptions.of(settings, "doctor"), "check")
    except ConfigurationError as error:
        return [wrong("broker", str(error), "it looks like amqp://user:password@host:5672/")]
    except BusError as error:
        mend = "is RABBITMQ_URL right, and is RabbitMQ on? Until it is, work takes the Postgres route"
        return [wrong("broker", str(error), mend)]
    try:
        return [_judge_link(link), await _check_queues(link)]
    except BusError as error:
        return [wrong("broker", str(error), "look at the log of RabbitMQ")]
    finally:
        await link.close(_GOODBYE_SECONDS)


def _judge_link(link: Link) -> Finding:
    if link.blocked:
        mend = "free memory or disk there: `rabbitmq-diagnostics alarms` says which"
        return wrong("broker", "RabbitMQ takes no messages because of a memory or disk alarm", mend)
    return ok("broker", "RabbitMQ answers")


async def _check_queues(link: Link) -> Finding:
    missing = [name for name in _queues() if not await _exists(link, name)]
    if missing:
        words = f"{len(missing)} queues are not declared yet, {missing[0]} among them"
        return note("broker", words, "services declare them when they connect")
    return ok("broker", "exchanges and queues are declared")


def _queues() -> Iterator[str]:
    for consumer in CONSUMERS:
        yield dead_letter_queue(consumer)
        yield from (queue_name(consumer, lane) for lane in Lane)


async def _exists(link: Link, name: str) -> bool:
    """Asks on a channel of its own, since RabbitMQ closes the one that asked for what is not there."""
    channel = await link.channel(confirms=False, vital=False)
    try:
        await link.call(channel.queue_declare(name, passive=True))
    except ChannelLost:
        return False
    return True
