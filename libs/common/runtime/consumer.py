"""A consumer: everything between the arrival of a message and its end, for one service in one process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg

from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.deliveries import IncomingWork
from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import SOURCES, Lane
from libs.common.db import Connect
from libs.common.outbox.claim_store import Claimed, ClaimPlan
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer, instance_name
from libs.common.runtime.arrivals import Arrivals
from libs.common.runtime.cache import Cache
from libs.common.runtime.calls import AdminApi
from libs.common.runtime.config import ConsumerSettings
from libs.common.runtime.context import Tools
from libs.common.runtime.dispatcher import Dispatcher
from libs.common.runtime.endings import Endings
from libs.common.runtime.executor import Executor
from libs.common.runtime.handlers import Registry
from libs.common.runtime.intake import PostgresIntake
from libs.common.runtime.keeper import Keeper
from libs.common.runtime.slots import Slots
from libs.common.runtime.work import Hands, LaneBuffers
from libs.common.tasks import Part, background

OpenBroker = Callable[
    [Callable[[IncomingWork], None], Callable[[], None], Callable[[], None]], BrokerConsumer
]
"""Makes the RabbitMQ side, given what to call with work, when it is up, and when it is down."""

Heard = Callable[[Message], None]
"""Is told of each message before its handler, whether it has one or not. It may be told again, and must not fail."""


class Consumer:
    """Wires the parts together; `run` works until it is cancelled, `quiesce` comes before that."""

    def __init__(
        self,
        name: str,
        registry: Registry,
        pool: asyncpg.Pool,
        producer: Producer,
        settings: ConsumerSettings,
        *,
        connect: Connect,
        clock: Clock,
        handler_pool: asyncpg.Pool | None = None,
        open_broker: OpenBroker | None = None,
        sources: Sequence[str] = SOURCES,
        faults: FaultPoints | None = None,
        admin: AdminApi | None = None,
        heard: Heard | None = None,
    ) -> None:
        faults = faults or FaultPoints()
        self._settings = settings
        self._clock = clock
        self._hands, self._buffers = Hands(), LaneBuffers(settings.consumer_concurrency)
        plan = ClaimPlan(name, f"worker:{instance_name()}", settings.consumer_lease_seconds)
        self._intake = PostgresIntake(
            pool, plan, sources, clock, room=self._room, deliver=self._claimed, lost=self._database_lost,
            batch=min(settings.consumer_claim_batch, settings.consumer_buffer), connect=connect,
            timeout=settings.database_timeout_seconds, faults=faults,
        )  # fmt: skip
        self._keeper = Keeper(
            pool, self._plan, self._hands, clock, timeout=settings.database_timeout_seconds, faults=faults
        )
        self._slots = Slots(connect, name, clock, lost=self._limits_lost)
        acquire = settings.consumer_acquire_seconds
        endings = Endings(
            name, pool, clock, acquire_seconds=acquire, scheduled=self._intake.due_in, faults=faults
        )
        executor = Executor(
            handler_pool or pool,
            producer,
            self._slots,
            endings,
            clock,
            acquire_seconds=acquire,
            faults=faults,
            tools=Tools(Cache(clock), admin),
        )
        self._dispatcher = Dispatcher(
            registry, pool, self._plan, self._hands, self._buffers, self._keeper, executor, endings, clock,
            acquire_seconds=acquire, unhandled_group=settings.consumer_claim_batch,
            room_made=self._room_made, faults=faults, heard=heard,
        )  # fmt: skip
        self._arrivals = Arrivals(
            pool,
            self._plan,
            self._hands,
            self._buffers,
            self._keeper,
            clock,
            broker_lease_seconds=settings.broker_lease_seconds,
            arrived=self._dispatcher.pump,
            faults=faults,
        )
        self._broker: BrokerConsumer | None = None
        if open_broker is not None:
            self._broker = open_broker(self._arrivals.from_rabbitmq, self._broker_up, self._broker_down)
            self._broker_down()  # until it is up

    async def run(self) -> None:
        """Works until cancelled; `quiesce` comes first where nothing is to be left behind."""
        async with background(self._parts(), self._clock):
            await asyncio.Event().wait()

    @asynccontextmanager
    async def working(self, shutdown_seconds: float, beside: Mapping[str, Part]) -> AsyncIterator[None]:
        """Works for as long as the block, other parts of its service beside it; then what runs may finish."""
        async with background({f"{self._plan().consumer} consumer": self.run, **beside}, self._clock):
            try:
                yield
            finally:
                await self.quiesce(shutdown_seconds)

    def _parts(self) -> dict[str, Part]:
        parts: dict[str, Part] = {
            "claim": self._intake.run,
            "claim excess": self._intake.run_excess,
            "listen": self._intake.listen,
            "ask": self._arrivals.ask_for_ever,
            "renew leases": self._keeper.renew_for_ever,
            "give back": self._keeper.pay_for_ever,
            "start": self._dispatcher.pump_for_ever,
            "keep slots": self._slots.keep_for_ever,
        }
        if self._broker is not None:
            parts["consume"] = self._broker.run
        return parts

    async def quiesce(self, limit_seconds: float) -> None:
        """Takes nothing new, lets what runs finish within the limit, and gives back the rest at once."""
        self._dispatcher.stopping = True
        if self._broker is not None:
            await self._broker.pause()
        await self._intake.halt()
        await self._arrivals.halt()
        await self._dispatcher.finish(limit_seconds)
        await self._keeper.pay()
        await self._slots.close()
        if self._broker is not None:
            await self._broker.close()

    def state(self) -> str | None:
        """What people should know about this consumer, or None."""
        if not self._keeper.database_back.is_set():
            return "Postgres is away: work waits for it"
        if self._broker is not None and not self._broker.connected:
            return "RabbitMQ does not reach this consumer: work is claimed from Postgres"
        return None

    def _claimed(self, claimed: Sequence[Claimed]) -> None:
        self._arrivals.from_postgres(claimed)

    def _database_lost(self) -> None:
        self._keeper.database_lost()

    def _limits_lost(self) -> None:
        self._dispatcher.limits_lost()

    def _broker_up(self) -> None:
        self._intake.cut_off(early_seconds=0.0)

    def _broker_down(self) -> None:
        """Rows are claimed whatever the broker route's lease says, but for the second in which others may have them."""
        self._intake.cut_off(early_seconds=max(0.001, self._settings.broker_lease_seconds - 1.0))

    def _plan(self) -> ClaimPlan:
        return self._intake.plan

    def _room(self, lane: Lane) -> int:
        if self._dispatcher.stopping or not self._keeper.database_back.is_set():
            return 0
        return self._settings.consumer_buffer - self._dispatcher.waiting(lane)

    def _room_made(self) -> None:
        self._intake.room_made()
