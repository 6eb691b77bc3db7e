"""Producers and consumers on real servers, and what the tests of the protocol want to know of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import REGISTRY
from prometheus_client.samples import Sample

from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.deliveries import IncomingWork
from libs.common.bus.link import BrokerOptions
from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection, connection, direct_connections, is_away, open_pool
from libs.common.outbox import end_store
from libs.common.outbox.claim_store import FIRST_ID
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.names import bind
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.outbox.wakes import Wake, channel
from libs.common.runtime.calls import AdminApi
from libs.common.runtime.config import ConsumerSettings
from libs.common.runtime.consumer import Consumer, OpenBroker
from libs.common.runtime.handlers import Registry, collect
from tests.integration.senders import Traffic, sending
from tests.waiting import poll

CONSUMER = "worker"
LONG = 60.0  # how long a test waits for what will surely come; a lease of this length does not end by itself

# Without a key: a doubled effect shows.
EFFECTS = "CREATE TABLE IF NOT EXISTS worker.effects (message_id uuid NOT NULL, note text)"
EFFECT = "INSERT INTO worker.effects (message_id, note) VALUES ($1, $2)"
LEFT = """
SELECT (SELECT count(*) FROM webhooks.outbox) + (SELECT count(*) FROM worker.outbox)
     + (SELECT count(*) FROM worker.scheduled)
"""
HURRY = "UPDATE worker.scheduled SET due_at = now()"
FREE_ALL = """
UPDATE webhooks.outbox SET holder = NULL, leased_until = NULL
WHERE id IN (SELECT id FROM webhooks.outbox FOR UPDATE SKIP LOCKED)
"""
ROW = "SELECT * FROM SOURCE.outbox WHERE id = $1"

HandlerFunction = Callable[..., Awaitable[None]]


def registry(*functions: HandlerFunction) -> Registry:
    """The registry of functions marked inside a test."""
    module = ModuleType("tested")
    for function in functions:
        function.__module__ = "tested"
        setattr(module, function.__name__, function)
    return collect([module])


async def effect(tx: Connection, message: Message, note: str | None = None) -> None:
    """What a tested handler does to the world."""
    await tx.execute(EFFECT, message.id, note)


def counted(name: str, **labels: str) -> float:
    """The value of a metric now."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def options(settings: ConsumerSettings) -> OpenBroker | None:
    """The RabbitMQ side of a consumer, as the worker opens it."""
    if settings.rabbitmq_url is None:
        return None
    broker = replace(BrokerOptions.of(settings, CONSUMER), silence_seconds=3.0)
    prefetch = dict.fromkeys(Lane, settings.consumer_prefetch)

    def open_broker(
        deliver: Callable[[IncomingWork], None], up: Callable[[], None], down: Callable[[], None]
    ) -> BrokerConsumer:
        return BrokerConsumer(broker, CONSUMER, deliver, prefetch, on_up=up, on_down=down)

    return open_broker


@dataclass
class Worker:
    """A running consumer."""

    consumer: Consumer
    producer: Producer
    running: asyncio.Task[None]

    async def up(self) -> None:
        """Returns once every route it has is open."""
        await poll(lambda: self.consumer.state() is None or self.running.done(), within=LONG)
        await trusted(self.producer)

    async def stop(self, limit_seconds: float = 5.0) -> None:
        """Stops as a deployment does. Raises what ended the consumer, if something did."""
        if not self.running.done():
            await self.consumer.quiesce(limit_seconds)
        await self.crash()

    async def crash(self) -> None:
        """Ends without a word to anybody."""
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running


async def trusted(producer: Producer) -> None:
    """Returns once a producer sends all its messages over RabbitMQ, if it has one."""
    if (broker := producer.broker) is not None:
        await poll(lambda: broker.circuit.share() == 1.0, within=LONG)


@dataclass
class System:
    """A producer of webhooks, and as many workers as a test wants."""

    settings: ConsumerSettings
    pool: asyncpg.Pool  # the test's own look into the database
    producer: Producer

    @property
    def database_url(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url.get_secret_value()

    async def accept(self, message_type: str = "webhook.test", body: bytes = b"{}", **more: Any) -> UUID:
        return (await self.producer.accept(Draft(message_type, body, **more))).id

    async def accept_many(self, number: int, message_type: str = "webhook.test", **more: Any) -> list[UUID]:
        return await asyncio.gather(*(self.accept(message_type, **more) for _ in range(number)))

    @asynccontextmanager
    async def working(
        self,
        handlers: Registry,
        *,
        faults: FaultPoints | None = None,
        await_broker: bool = True,
        admin: AdminApi | None = None,
        **changes: object,
    ) -> AsyncIterator[Worker]:
        """A worker that is up; it is stopped at the end, unless the test did that."""
        settings = self.settings.model_copy(update=changes)
        longest = max((handler.timeout for handler in handlers.handlers), default=0.0)
        async with (
            open_pool(settings, name="worker") as pool,
            open_pool(
                settings, size=settings.consumer_concurrency, longest_transaction=longest + 6.0
            ) as handler_pool,
            open_producer(settings, schema=CONSUMER, pool=pool, faults=faults) as producer,
        ):
            consumer = Consumer(
                CONSUMER, handlers, pool, producer, settings, connect=direct_connections(settings), clock=SystemClock(),
                handler_pool=handler_pool, open_broker=options(settings), faults=faults, admin=admin,
            )  # fmt: skip
            worker = Worker(consumer, producer, asyncio.create_task(consumer.run()))
            try:
                if await_broker:
                    await worker.up()
                yield worker
            finally:
                await worker.stop()

    @asynccontextmanager
    async def traffic(self, *message_types: str) -> AsyncIterator[Traffic]:
        """Senders of these types, until the end of the block."""
        async with sending(self.producer, message_types) as traffic:
            yield traffic

    async def free_all(self) -> None:
        """Ends all leases, whoever holds them, and tells the workers."""
        wake = Wake("webhooks", Lane.DEFAULT, FIRST_ID).payload()
        await self.pool.execute(FREE_ALL)
        await self.pool.execute("SELECT pg_notify($1, $2)", channel(CONSUMER), wake)

    async def replay(self, identifier: UUID) -> None:
        """What `POST /api/jobs/{id}/retry` does."""
        async with connection(self.pool, LONG) as conn:
            assert await end_store.replay(conn, "webhooks", CONSUMER, identifier) is not None

    # what the tests want to know

    async def answers(self) -> None:
        """Returns once Postgres answers the test again."""
        await poll(self._answered, within=LONG)

    async def _answered(self) -> bool:
        try:
            return bool(await self.pool.fetchval("SELECT true"))
        except Exception as error:
            if not is_away(error):
                raise
            return False

    async def left(self) -> int:
        number: int = await self.pool.fetchval(LEFT)
        return number

    async def finished(self, within: float = LONG, *, hurry: bool = False) -> None:
        """Returns once no work is left; with `hurry`, what is scheduled need not wait for its time."""

        async def none_left() -> bool:
            if hurry:
                await self.pool.execute(HURRY)
            return await self.left() == 0

        await poll(none_left, within=within)

    async def effects(self) -> Counter[UUID]:
        rows = await self.pool.fetch("SELECT message_id FROM worker.effects")
        return Counter(row["message_id"] for row in rows)

    async def notes(self) -> list[str]:
        """What effects say besides whose they are, sorted."""
        return [row["note"] for row in await self.pool.fetch("SELECT note FROM worker.effects ORDER BY note")]

    async def history(self) -> dict[UUID, asyncpg.Record]:
        return {row["message_id"]: row for row in await self.pool.fetch("SELECT * FROM worker.history")}

    async def failed(self) -> dict[UUID, asyncpg.Record]:
        return {row["message_id"]: row for row in await self.pool.fetch("SELECT * FROM worker.failed")}

    async def row(self, identifier: UUID, source: str = "webhooks") -> asyncpg.Record | None:
        """A message's row in the outbox."""
        return await self.pool.fetchrow(bind(ROW, source=source), identifier)

    async def done_once(self, ids: Iterable[UUID]) -> None:
        """Fails unless exactly these messages are done, each with one effect and in one attempt."""
        wanted = set(ids)
        history = await self.history()
        assert set(history) == wanted
        assert await self.effects() == Counter(wanted)
        assert {
            identifier: row["attempts"] for identifier, row in history.items() if row["attempts"] != 1
        } == {}
        assert await self.failed() == {}


@asynccontextmanager
async def system(database: str, broker: str | None = None, **changes: object) -> AsyncIterator[System]:
    """A system whose deadlines towards RabbitMQ a busy test machine does not miss, unless a test wants it to."""
    patient: dict[str, object] = {"broker_confirm_seconds": 5.0, "broker_connect_seconds": 5.0}
    unshared: dict[str, object] = {"shop_share_burst": 1_000_000}
    settings = ConsumerSettings.load(
        **{**patient, **unshared, **changes, "database_url": database, "rabbitmq_url": broker}
    )
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, size=4, name="test"))
        await pool.execute(EFFECTS)
        accepting = await stack.enter_async_context(open_pool(settings, name="webhooks"))
        producer = await stack.enter_async_context(open_producer(settings, schema="webhooks", pool=accepting))
        await trusted(producer)
        stack.callback(_nothing_restarted, restarts())
        yield System(settings, pool, producer)


def restarts() -> float:
    """How often a part of a service failed in a way nobody foresaw; each such part begins again by itself."""
    return sum(sample.value for sample in _samples("task_restarts_total"))


def _nothing_restarted(before: float) -> None:
    assert restarts() == before, "a part of the service failed and was begun again; the log says why"


def _samples(name: str) -> Iterator[Sample]:
    return (sample for metric in REGISTRY.collect() for sample in metric.samples if sample.name == name)
