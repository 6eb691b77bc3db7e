"""A service in a simulated process: production code, with the models where Postgres and RabbitMQ would be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import asyncpg

from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.deliveries import IncomingWork
from libs.common.contracts.topology import Lane
from libs.common.outbox.faults import POINTS, FaultPoints
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.runtime.config import ConsumerSettings
from libs.common.runtime.consumer import Consumer
from libs.common.tasks import background
from tests.simulation.amqp import SimConsumer
from tests.simulation.broker import Broker
from tests.simulation.clock import SimClock
from tests.simulation.database import Database
from tests.simulation.diary import SURROUNDINGS, Diary, Surroundings
from tests.simulation.handlers import REGISTRY
from tests.simulation.loop import Process, SimLoop, State

_STOP_SECONDS = 4.0

Blow = Callable[[], None]
"""What happens to a process at a fault point."""


SOURCES = ("webhooks", "worker")
"""Whose outboxes hold work in these worlds. Looking into the others' as well would only take time."""


class Host:
    """Where one service runs. Its process may die and be started again; clock and name stay."""

    def __init__(
        self, name: str, loop: SimLoop, database: Database, broker: Broker, diary: Diary, settings: ConsumerSettings
    ) -> None:  # fmt: skip
        self.name = name
        self.clock = SimClock(loop)
        self.process = Process(name)
        self.process.state = State.DEAD
        self.producer: Producer | None = None  # while it is open
        self.processes: list[Process] = []
        self._loop, self._database, self._broker = loop, database, broker
        self._diary, self._settings = diary, settings
        self._stopping = asyncio.Event()
        self._blows: dict[str, tuple[int, Blow]] = {}

    @property
    def alive(self) -> bool:
        return self.process.state is not State.DEAD

    def start(self) -> None:
        """Starts the service in a new process, unless it runs."""
        if self.alive:
            return
        self.process = Process(self.name)
        self.processes.append(self.process)
        self._stopping, self._blows = asyncio.Event(), {}
        self.process.context.run(SURROUNDINGS.set, Surroundings(self.name, self._diary, self._die))
        serve = self._webhooks if self.name == "webhooks" else self._worker
        self._loop.spawn(self.process, self._serve(serve))

    def kill(self) -> None:
        """SIGKILL: nothing of it ever runs again, and its connections end."""
        if not self.alive:
            return
        self._loop.kill(self.process)
        self.producer = None
        last_words = self._loop.rng.random() < 0.5
        self._database.crash_process(self.name, last_words=last_words)
        self._broker.cut(self.name)

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.alive:
            self._loop.freeze(self.process)
            self._broker.froze(self.process)

    def thaw(self) -> None:
        self._loop.thaw(self.process)

    def stop(self) -> None:
        """SIGTERM."""
        self._stopping.set()

    def forgive(self) -> None:
        """What was to happen at fault points does not."""
        self._blows.clear()

    def at(self, point: str, count: int, blow: Blow) -> None:
        """Something happens when this process reaches a fault point for the n-th time from now."""
        self._blows[point] = (count, blow)

    # inside the process

    async def _serve(self, serve: Callable[[], Awaitable[None]]) -> None:
        await serve()
        self.kill()  # exits, and so do its connections

    async def _webhooks(self) -> None:
        pool = self._pool()
        async with open_producer(
            self._settings, schema="webhooks", pool=pool, clock=self.clock, faults=self._faults()
        ) as producer:
            self.producer = producer
            await self._stopping.wait()
            self.producer = None

    async def _worker(self) -> None:
        pool, faults = self._pool(), self._faults()
        async with open_producer(
            self._settings, schema="worker", pool=pool, clock=self.clock, faults=faults
        ) as producer:
            consumer = Consumer(
                "worker", REGISTRY, pool, producer, self._settings,
                connect=partial(self._database.connect, self.name), clock=self.clock,
                handler_pool=self._handler_pool(), open_broker=self._open_broker, faults=faults,
                sources=SOURCES,
            )  # fmt: skip
            async with self._working(consumer):
                await self._stopping.wait()

    @asynccontextmanager
    async def _working(self, consumer: Consumer) -> AsyncIterator[None]:
        """As in services/worker/app.py."""
        async with background({"consumer": consumer.run}, self.clock):
            try:
                yield
            finally:
                await consumer.quiesce(_STOP_SECONDS)

    def _pool(self) -> asyncpg.Pool:
        return self._database.pool(self.name, size=self._settings.database_pool_size)

    def _handler_pool(self) -> asyncpg.Pool:
        """As in services/worker/app.py."""
        longest = max(handler.timeout for handler in REGISTRY.handlers)
        return self._database.pool(
            self.name, size=self._settings.consumer_concurrency, command_timeout=None,
            longest_transaction=longest + self._settings.consumer_lease_seconds,
        )  # fmt: skip

    def _open_broker(
        self, deliver: Callable[[IncomingWork], None], up: Callable[[], None], down: Callable[[], None]
    ) -> BrokerConsumer:
        prefetch = dict.fromkeys(Lane, self._settings.consumer_prefetch)
        model = SimConsumer(self._broker, self.process, "worker", deliver, prefetch, on_up=up, on_down=down)
        return cast("BrokerConsumer", model)

    def _faults(self) -> FaultPoints:
        return FaultPoints({point: partial(self._reach, point) for point in POINTS})

    async def _reach(self, point: str) -> None:
        if point not in self._blows:
            return
        count, blow = self._blows.pop(point)
        if count > 1:
            self._blows[point] = (count - 1, blow)
            return
        blow()
        await asyncio.sleep(0)  # where a dead or frozen process stops

    async def _die(self) -> None:
        self.kill()
        await asyncio.sleep(0)
