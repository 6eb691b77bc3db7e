"""What RabbitMQ and Postgres bring becomes deliveries in hand."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from uuid import UUID

import asyncpg

from libs.common.bus.deliveries import IncomingWork
from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.db import connection, is_away
from libs.common.ids import made_at
from libs.common.outbox import claim_store
from libs.common.outbox.claim_store import Claimed, ClaimPlan
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime import metrics
from libs.common.runtime.keeper import Keeper
from libs.common.runtime.work import POSTGRES, RABBITMQ, Delivery, Hands, LaneBuffers

_BROKER_LEASE_LEFT = (
    2.0  # seconds; nobody tells how much of the broker's lease is left, so the keeper soon renews it
)


_LEASE_MARGIN = 2.0
_ASK_AGAIN_SECONDS = 0.2
_ACQUIRE_SECONDS = 3.0

_Counts = tuple[int, int, int]  # deliveries, suspicions, failed attempts


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
        broker_lease_seconds: float,
        arrived: Callable[[], None],
        faults: FaultPoints,
    ) -> None:
        self._broker_lease = broker_lease_seconds
        self._pool, self._plan, self._hands, self._buffers = pool, plan, hands, buffers
        self._keeper, self._clock, self._arrived, self._faults = keeper, clock, arrived, faults
        self._again: asyncio.Queue[IncomingWork] = asyncio.Queue()
        self._turn = asyncio.Lock()
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
        if work.redelivered or work.dead_lettered or self._stale(work):
            self._again.put_nowait(work)
            return
        self._take(self._deliveries(work, work.messages))

    def _stale(self, work: IncomingWork) -> bool:
        """Whether the broker's lease may have ended while the packet queued, so that others may have its rows."""
        age = (self._clock.now() - made_at(work.messages[0].id)).total_seconds()
        return age > self._broker_lease - _LEASE_MARGIN

    async def halt(self) -> None:
        """Takes nothing more; what waits to be asked about, or is being asked about, is given back."""
        self.closed = True
        async with self._turn:
            while not self._again.empty():
                await self._ask(self._again.get_nowait())

    async def ask_for_ever(self) -> None:
        """Asks Postgres, before anything is started, about what RabbitMQ brought again or late."""
        while True:
            work = await self._again.get()
            try:
                async with self._turn:
                    asked = await self._ask(work)
            except Exception:
                self._again.put_nowait(work)
                raise
            if not asked:
                self._again.put_nowait(work)  # at the end: what is behind it need not wait for it
                await self._clock.sleep(_ASK_AGAIN_SECONDS)
                await self._keeper.database_back.wait()

    async def _ask(self, work: IncomingWork) -> bool:
        deliveries = self._deliveries(work, work.messages)
        if work.redelivered:
            metrics.REDELIVERED.labels(self._plan().consumer).inc(len(deliveries))
        if (
            work.dead_lettered or self.closed
        ):  # what RabbitMQ gave up, Postgres, which counts exactly, has not
            self._return(deliveries, "stopping" if self.closed else "dead letter")
            return True
        await self._faults.reach("redelivered, not taken over")
        try:
            ours = await self._take_over(deliveries, counted=work.redelivered)
        except Exception as error:
            if not is_away(error):
                raise
            self._keeper.database_lost()
            return False
        await self._faults.reach("taken over, not started")
        self._sort_out(deliveries, ours)
        return True

    async def _take_over(self, deliveries: Sequence[Delivery], *, counted: bool) -> dict[UUID, _Counts]:
        """What is in hand already is alive: it came again because a connection broke, and is not counted."""
        ours = {d.message.id: (1, 0, d.message.attempt - 1) for d in deliveries if d.key in self._hands}
        by_source: dict[str, list[UUID]] = defaultdict(list)
        for delivery in deliveries:
            if delivery.message.id not in ours:
                by_source[delivery.message.source].append(delivery.message.id)
        async with connection(self._pool, _ACQUIRE_SECONDS) as conn:
            for source, ids in by_source.items():
                ours |= await claim_store.take_over(
                    conn, source, self._plan(), deliveries[0].lane, ids, counted=counted
                )
        return ours

    def _sort_out(self, deliveries: Sequence[Delivery], ours: dict[UUID, _Counts]) -> None:
        taken = []
        for delivery in deliveries:
            if counts := ours.get(delivery.message.id):
                delivery.deliveries, delivery.suspicions, failed = counts
                delivery.message = replace(delivery.message, attempt=failed + 1)
                taken.append(delivery)
            else:
                metrics.COPIES.labels(self._plan().consumer).inc()
                delivery.acknowledge()
        if self.closed:
            self._return(taken, "stopping")
        else:
            self._take(taken)

    def _return(self, deliveries: Sequence[Delivery], reason: str) -> None:
        """Gives back what is not being worked on here; copies of what is end with it."""
        free = [delivery for delivery in deliveries if delivery.key not in self._hands]
        self._keeper.give_back(free, reason)
        for delivery in deliveries:
            if delivery.key in self._hands:
                self._hands.take(delivery)
            else:
                delivery.acknowledge()

    def _deliveries(self, work: IncomingWork, messages: Sequence[Message]) -> list[Delivery]:
        ends = self._clock.monotonic() + _BROKER_LEASE_LEFT
        ack = _Countdown(len(messages), work.ack)
        return [Delivery(message, work.lane, RABBITMQ, ends, acks=[ack]) for message in messages]

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in sorted(deliveries, key=attrgetter("suspicions")):  # a killer's next try comes last
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
