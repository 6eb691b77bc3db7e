"""Opens a producer with everything it runs on, and closes it so that nothing accepted waits longer than it must."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog

from libs.common.bus.link import BrokerOptions
from libs.common.bus.publisher import BrokerPublisher
from libs.common.clock import Clock, SystemClock
from libs.common.contracts.topology import EXTERNAL, ExternalDestination
from libs.common.outbox.broker_route import BrokerRoute
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer, instance_name
from libs.common.outbox.relay import Relay
from libs.common.outbox.wakes import Notifier
from libs.common.settings import CommonSettings
from libs.common.tasks import background

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_producer(
    settings: CommonSettings,
    *,
    schema: str,
    pool: asyncpg.Pool,
    clock: Clock | None = None,
    externals: Sequence[ExternalDestination] = EXTERNAL,
    faults: FaultPoints | None = None,
) -> AsyncIterator[Producer]:
    """A running producer for one schema. On closing, commits under way and their publishes are finished first."""
    clock = clock or SystemClock()
    notifier = Notifier(pool, schema, timeout=settings.database_timeout_seconds)
    broker = _broker_route(settings, schema, pool, notifier, clock, faults)
    producer = Producer(
        pool, schema, settings, notifier=notifier, broker=broker, externals=externals, clock=clock, faults=faults
    )  # fmt: skip
    parts = {f"notify {schema}": notifier.run}
    if broker is not None:
        parts[f"broker route {schema}"] = broker.run
    if broker is not None and externals:
        producer.relay = Relay(
            pool, broker, externals, source=schema, holder=f"relay:{instance_name()}", clock=clock,
            timeout=settings.database_timeout_seconds, faults=faults,
        )  # fmt: skip
        parts[f"relay {schema}"] = producer.relay.run
    async with background(parts, clock):
        try:
            yield producer
        finally:
            await _close(producer, settings)
    await notifier.flush()


async def _close(producer: Producer, settings: CommonSettings) -> None:
    await producer.close()
    if producer.broker is None:
        return
    try:
        async with asyncio.timeout(2 * settings.broker_confirm_seconds):
            await producer.broker.drained()
    except TimeoutError:
        _log.warning("Stopping before RabbitMQ confirmed everything; the rest is freed.")
    await producer.broker.give_up()


def _broker_route(
    settings: CommonSettings,
    schema: str,
    pool: asyncpg.Pool,
    notifier: Notifier,
    clock: Clock,
    faults: FaultPoints | None,
) -> BrokerRoute | None:
    if settings.rabbitmq_url is None:
        return None
    publisher = BrokerPublisher(BrokerOptions.of(settings, schema))
    route = BrokerRoute(
        pool, publisher, source=schema, holder=f"broker:{instance_name()}", clock=clock,
        lease_seconds=settings.broker_lease_seconds, high_water=settings.broker_high_water,
        freed=notifier.ready, timeout=settings.database_timeout_seconds, faults=faults,
    )  # fmt: skip
    publisher.on_lost = route.lost
    return route
