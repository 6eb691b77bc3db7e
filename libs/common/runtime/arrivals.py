"""What RabbitMQ and Postgres bring becomes deliveries in hand."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg
import structlog

from libs.common.bus.deliveries import IncomingWork
from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.db import connection, is_away
from libs.common.outbox import claim_store
from libs.common.outbox.claim_store import Claimed, ClaimPlan
from libs.common.runtime import metrics
from libs.common.runtime.keeper import Keeper
from libs.common.runtime.work import POSTGRES, RABBITMQ, Delivery, Hands, LaneBuffers

_log = structlog.get_logger(__name__)

_BROKER_LEASE_LEFT = (
    2.0  # seconds; nobody tells how much of the broker's lease is left, so the keeper soon renews it
)


class Arrivals:
    """Puts deliveries into hand and buffers, and asks Postgres about those RabbitMQ brings a second time."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        plan: Callable[[], ClaimPlan],
        hands: Hands,
        buffers: LaneBuffers,
        keeper: Keeper,
        clock: Clock,
        *,
        arrived: Callable[[], None],
    ) -> None:
        self._pool, self._plan, self._hands, self._buffers = pool, plan, hands, buffers
        self._keeper, self._clock, self._arrived = keeper, clock, arrived
        self._again: asyncio.Queue[IncomingWork] = asyncio.Queue()
        self.closed = False

    def from_postgres(self, claimed: Sequence[Claimed]) -> None:
        """Rows this consumer leased."""
        ends = self._clock.monotonic() + self._plan().lease_seconds
        deliveries = [
            Delivery(c.message, c.lane, POSTGRES, ends, c.deliveries, c.suspicions) for c in claimed
        ]
        if self.closed:  # claimed while we were asked to stop
            self._keeper.give_back(deliveries, "stopping")
        else:
            self._take(deliveries)

    def from_rabbitmq(self, work: IncomingWork) -> None:
        """A packet from RabbitMQ; it is acknowledged when the last of its messages has ended."""
        if self.closed:
            return  # not acknowledged: its rows are freed by the stop
        if work.redelivered or work.dead_lettered:
            self._again.put_nowait(work)
            return
        self._take(self._deliveries(work, work.messages))

    def rest(self) -> list[Delivery]:
        """What waits to be asked about, at a stop."""
        rest: list[Delivery] = []
        while not self._again.empty():
            work = self._again.get_nowait()
            rest += self._deliveries(work, work.messages)
        return rest

    async def ask_for_ever(self) -> None:
        """Looks up what RabbitMQ brought again: a worker may have died of it, so it is counted in Postgres."""
        while True:
            work = await self._again.get()
            while not await self._ask(work):
                await self._keeper.database_back.wait()

    async def _ask(self, work: IncomingWork) -> bool:
        deliveries = self._deliveries(work, work.messages)
        metrics.REDELIVERED.labels(self._plan().consumer).inc(len(deliveries))
        if work.dead_lettered:  # RabbitMQ gave up; Postgres, which counts exactly, has not yet
            self._keeper.give_back(deliveries, "dead letter")
            for delivery in deliveries:
                delivery.acknowledge()
            return True
        try:
            ours = await self._count(deliveries)
        except Exception as error:
            if not is_away(error):
                raise
            self._keeper.database_lost()
            return False
        self._sort_out(deliveries, ours)
        return True

    async def _count(self, deliveries: Sequence[Delivery]) -> dict[UUID, tuple[int, int, int]]:
        by_source: dict[str, list[UUID]] = defaultdict(list)
        for delivery in deliveries:
            by_source[delivery.message.source].append(delivery.message.id)
        ours: dict[UUID, tuple[int, int, int]] = {}
        async with connection(self._pool, 3.0) as conn:
            for source, ids in by_source.items():
                ours |= await claim_store.redelivered(conn, source, self._plan(), deliveries[0].lane, ids)
        return ours

    def _sort_out(self, deliveries: Sequence[Delivery], ours: dict[UUID, tuple[int, int, int]]) -> None:
        taken = []
        for delivery in deliveries:
            if counts := ours.get(delivery.message.id):
                delivery.deliveries, delivery.suspicions = counts[0], counts[1]
                taken.append(delivery)
            else:
                metrics.COPIES.labels(self._plan().consumer).inc()
                delivery.acknowledge()
        self._take(taken)

    def _deliveries(self, work: IncomingWork, messages: Sequence[Message]) -> list[Delivery]:
        ends = self._clock.monotonic() + _BROKER_LEASE_LEFT
        ack = _Countdown(len(messages), work.ack)
        return [Delivery(message, work.lane, RABBITMQ, ends, acks=[ack]) for message in messages]

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if self._hands.take(delivery):
                self._buffers.add(delivery)
            else:
                metrics.COPIES.labels(self._plan().consumer).inc()
        self._arrived()


class _Countdown:
    """Acknowledges a packet when each of its messages has ended."""

    __slots__ = ("_ack", "_left")

    def __init__(self, left: int, ack: Callable[[], None]) -> None:
        self._left, self._ack = left, ack

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._ack()
