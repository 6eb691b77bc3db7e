"""The producer's way over RabbitMQ: what it hands over, when it stops trusting the broker, and how it comes back."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

import asyncpg
import structlog

from libs.common.bus.packing import MAX_PACK_BYTES, MAX_PACK_MESSAGES, Packet, encode
from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import CONSUMERS, Lane, queue_name, work_key
from libs.common.db import connection, is_away
from libs.common.errors import BrokerAway
from libs.common.outbox import metrics, put_store
from libs.common.outbox.circuit import Circuit, State
from libs.common.outbox.depths import Depths
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.lease_window import LeaseWindow

_log = structlog.get_logger(__name__)

Target = tuple[str, Lane]  # destination and lane: one queue

MOST_IN_FLIGHT = 4  # full packs of one queue whose confirms are awaited


class Publisher(Protocol):
    """What the broker route needs of RabbitMQ; `libs.common.bus.publisher.BrokerPublisher` is the real one."""

    async def publish(self, routing_key: str, packet: Packet) -> None:
        """Returns once the broker confirmed; raises `BrokerAway` within its deadline otherwise."""

    async def probe(self) -> None:
        """Proves that a message goes in and comes out; raises `BrokerAway` otherwise."""

    async def depth(self, queue: str) -> int:
        """Messages ready in a queue."""

    def abort(self) -> None:
        """Drops the connection without waiting for the peer."""


class BrokerRoute:
    """Publishes one source's rows and frees their leases when the broker cannot be trusted."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        publisher: Publisher,
        *,
        source: str,
        holder: str,
        clock: Clock,
        lease_seconds: float,
        high_water: int,
        freed: Callable[[str, Lane, UUID], None],
        timeout: float = 3.0,
        probe_seconds: float = 0.5,
        faults: FaultPoints | None = None,
    ) -> None:
        self.circuit = Circuit(clock)
        self.depths = Depths(high_water)
        self.holder = holder
        self.publisher = publisher
        self._pool, self._clock = pool, clock
        self._source, self._timeout = source, timeout
        self._window = LeaseWindow(clock, lease_seconds=lease_seconds)
        self._freed = freed
        self._probe_seconds = probe_seconds
        self._faults = faults or FaultPoints()
        self._idle = asyncio.Event()
        self._idle.set()
        targets = [(destination, lane) for destination in CONSUMERS for lane in Lane]
        self._queues: dict[Target, deque[Message]] = {target: deque() for target in targets}
        self._work = {target: asyncio.Event() for target in targets}
        self._in_flight: dict[Target, list[Sequence[Message]]] = {target: [] for target in targets}
        self._ended = False
        self._to_free = asyncio.Event()

    def admits(self, destinations: Sequence[str], lane: Lane) -> bool:
        """Whether a new row should be leased to RabbitMQ: circuit, queue depth, and what waits here, say yes."""
        shallow = all(
            self.depths.shallow(queue_name(name, lane), waiting=self._waiting((name, lane)))
            for name in destinations
        )
        return shallow and self.circuit.admits()

    def _waiting(self, target: Target) -> int:
        return len(self._queues[target]) + sum(map(len, self._in_flight[target]))

    def hand_over(self, destination: str, lane: Lane, messages: Sequence[Message]) -> None:
        """Takes committed, leased messages for publishing; returns at once."""
        target = (destination, lane)
        self._idle.clear()
        self._window.note(min(message.id for message in messages))
        if self.circuit.state is State.OPEN or self._ended:  # opened between the insert and now
            self._to_free.set()
            return
        self._queues[target].extend(messages)
        self._work[target].set()

    def lost(self, reason: str) -> None:
        """The broker cannot be trusted any more: new rows bypass it, and what it holds is freed."""
        for queue in self._queues.values():
            queue.clear()
        self._to_free.set()
        if not self.circuit.failed(reason):
            return
        metrics.CIRCUIT_OPENED.labels(self._source, reason).inc()
        self._show()
        self.publisher.abort()
        _log.warning(
            "RabbitMQ cannot be trusted; work takes the Postgres route.", service=self._source, reason=reason
        )

    async def run(self) -> None:
        """Publishes, probes and frees until cancelled."""
        for target, queue in self._queues.items():
            self._in_flight[target].clear()
            if queue:  # left by a turn that failed
                self._work[target].set()
        try:
            async with asyncio.TaskGroup() as tasks:
                for target in self._queues:
                    tasks.create_task(self._publish_for_ever(target, tasks))
                tasks.create_task(self._probe_for_ever())
                tasks.create_task(self._free_for_ever())
        finally:
            self.publisher.abort()

    async def give_up(self) -> None:
        """The end: what was not published is free for consumers at once."""
        self._ended = True
        for (destination, lane), first in self._unpublished().items():
            await self._free(destination, lane, first)

    async def drained(self) -> None:
        """Returns once everything handed over was published or freed; the caller sets the deadline."""
        await self._idle.wait()

    # publishing

    async def _publish_for_ever(self, target: Target, tasks: asyncio.TaskGroup) -> None:
        work = self._work[target]
        while True:
            await work.wait()
            work.clear()
            while self._may_publish(target):
                pack = _pack(self._queues[target])
                self._in_flight[target].append(pack)
                tasks.create_task(self._publish(target, pack))
            self._settle()

    def _may_publish(self, target: Target) -> bool:
        """What gathers while a confirm is awaited travels together; a full pack gains nothing by waiting for it."""
        queue, in_flight = self._queues[target], len(self._in_flight[target])
        return bool(queue) and (in_flight == 0 or (in_flight < MOST_IN_FLIGHT and _fills_a_pack(queue)))

    async def _publish(self, target: Target, pack: Sequence[Message]) -> None:
        started = self._clock.monotonic()
        await self._faults.reach("committed, not published")
        try:
            await self.publisher.publish(work_key(*target), encode(pack))
        except BrokerAway as error:
            cause = str(getattr(error, "cause", "connection"))
            metrics.PUBLISH_FAILURES.labels(self._source, cause).inc(len(pack))
            self._landed(target, pack)
            self.lost(cause)
            return
        await self._faults.reach("confirmed, not noted")
        self._landed(target, pack)
        metrics.PUBLISH_SECONDS.labels(self._source).observe(self._clock.monotonic() - started)
        metrics.PACK.labels(self._source).observe(len(pack))
        metrics.PUBLISHED.labels(self._source).inc(len(pack))
        self.depths.published(queue_name(*target), len(pack))

    def _landed(self, target: Target, pack: Sequence[Message]) -> None:
        self._in_flight[target].remove(pack)
        self._work[target].set()

    def _settle(self) -> None:
        busy = any(self._queues.values()) or any(self._in_flight.values())
        if not busy and not self._to_free.is_set():
            self._idle.set()

    # freeing

    async def _free_for_ever(self) -> None:
        while True:
            await self._to_free.wait()
            self._to_free.clear()
            if not await self._free_all():
                self._to_free.set()
                await self._clock.sleep(0.2)  # Postgres is away; the leases end by themselves if it stays so
                continue
            self._settle()

    async def _free_all(self) -> bool:
        """Frees what this producer leased to RabbitMQ; False if Postgres was away."""
        since = self._window.since()
        if since is None:
            return True
        await self._faults.reach("lost, not freed")
        return all([await self._free(destination, lane, since) for destination, lane in self._queues])

    async def _free(self, destination: str, lane: Lane, since: UUID) -> bool:
        try:
            async with connection(self._pool, self._timeout) as conn:
                ids = await put_store.free(conn, self._source, self.holder, destination, lane, since)
        except Exception as error:
            if not is_away(error):
                raise
            return False
        metrics.RECLAIMED.labels(self._source).inc(len(ids))
        if ids:
            await self._faults.reach("freed, not announced")
            self._freed(destination, lane, min(ids))
        return True

    def _unpublished(self) -> dict[Target, UUID]:
        """The oldest message of each queue that RabbitMQ has not confirmed."""
        left = {
            target: [*queue, *(message for pack in self._in_flight[target] for message in pack)]
            for target, queue in self._queues.items()
        }
        return {
            target: min(message.id for message in messages) for target, messages in left.items() if messages
        }

    # probing

    async def _probe_for_ever(self) -> None:
        while True:
            try:
                await self.publisher.probe()
                await self._look_at_depths()
            except BrokerAway as error:
                self._probe_failed(str(getattr(error, "cause", "connection")))
            else:
                self._probed()
            self._show()
            await self._clock.sleep(
                self._probe_seconds * (1 + random.random() / 2)
            )  # spread over the producers

    def _probe_failed(self, reason: str) -> None:
        if self.circuit.state is State.OPEN:
            self.circuit.failed(reason)  # the good probes before it do not count
            self.publisher.abort()  # so that the next one connects, and declares what may be missing
        else:
            self.lost(reason)

    def _probed(self) -> None:
        before = self.circuit.state
        self.circuit.probed()
        if before is State.OPEN and self.circuit.state is not State.OPEN:
            _log.info("RabbitMQ is trusted again.", service=self._source, circuit=self.circuit.state.value)

    async def _look_at_depths(self) -> None:
        for name in self.depths.names():
            ready = await self.publisher.depth(name)
            self.depths.seen(name, ready)
            metrics.QUEUE_DEPTH.labels(self._source, name).set(ready)

    def _show(self) -> None:
        metrics.CIRCUIT_OPEN.labels(self._source).set(self.circuit.state is State.OPEN)
        metrics.BROKER_SHARE.labels(self._source).set(self.circuit.share())


def _pack(queue: deque[Message]) -> list[Message]:
    """Takes what fits into one AMQP message; a body above the limit goes alone."""
    pack = [queue.popleft()]
    total = len(pack[0].body)
    while queue and len(pack) < MAX_PACK_MESSAGES and total + len(queue[0].body) <= MAX_PACK_BYTES:
        total += len(queue[0].body)
        pack.append(queue.popleft())
    return pack


def _fills_a_pack(queue: deque[Message]) -> bool:
    total = 0
    for number, message in enumerate(queue, start=1):
        total += len(message.body)
        if number == MAX_PACK_MESSAGES or total >= MAX_PACK_BYTES:
            return True
    return False
