"""A model of RabbitMQ as shopbus uses it: quorum queues, confirms, prefetch, redelivery, and many ways to fail."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from libs.common.bus.errors import ConnectionLost, PublishTimeout
from libs.common.bus.packing import Packet
from libs.common.contracts.topology import CONSUMERS, Lane, dead_letter_queue, queue_name, work_key
from tests.simulation.loop import OUTSIDE, Process, SimLoop
from tests.simulation.wire import Way, Wire

CONNECT_SECONDS = 3.0
DELIVERY_LIMIT = 4  # far below the real one, so that dead letters come about
_LATE_SECONDS = 3.0
_REMEMBERED = 20


Reply = Callable[[object], None]
"""Sends an answer back to a client."""


class Reach(StrEnum):
    """How the broker answers a process."""

    OPEN = "open"
    REFUSED = "refused"  # connections are cut, and new ones refused
    SILENT = "silent"  # nothing arrives, either way


class Fate(StrEnum):
    """What becomes of one publish."""

    CONFIRMED = "confirmed"
    LATE = "late"  # stored, and confirmed when nobody may be waiting any more
    MUTE = "mute"  # stored, and never confirmed
    SWALLOWED = "swallowed"  # neither stored nor confirmed
    CUT_AFTER = "cut after"  # stored, and the connection ends before the confirm
    CUT_BEFORE = "cut before"
    NACKED = "nacked"
    NACKED_STORED = "nacked, stored"  # a nack promises nothing
    RETURNED = "returned"


class Answer(StrEnum):
    """What the broker says about a publish."""

    ACK = "ack"
    NACK = "nack"
    RETURN = "return"


@dataclass(slots=True, eq=False)
class Entry:
    """One AMQP message in a queue."""

    packet: Packet
    lane: Lane
    returns: int = 0  # times it was given out and came back
    dead: bool = False  # given up


@dataclass(slots=True, eq=False)
class Tap:
    """One consumer of one queue: what it was given and has not acknowledged."""

    wire: Wire
    prefetch: int
    receive: Callable[["Tap", int, Entry], None]
    cancelled: Callable[[], None]
    unacked: dict[int, Entry] = field(default_factory=dict)
    paused: bool = False
    given: int = 0

    def wants(self) -> bool:
        return not self.paused and self.wire.server_open and len(self.unacked) < self.prefetch


@dataclass(slots=True, eq=False)
class Queue:
    """One quorum queue."""

    name: str
    ready: deque[Entry] = field(default_factory=deque)
    taps: list[Tap] = field(default_factory=list)
    acked: deque[Entry] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Broker:
    """The server. Processes reach it through `connect`; the simulation hurts it through the rest."""

    def __init__(self, loop: SimLoop, latency: Callable[[], float]) -> None:
        self.queues: dict[str, Queue] = {}
        self.blocked = False
        self.fates: dict[str, deque[Fate]] = {}  # by process, of its next publishes
        self._loop, self._latency = loop, latency
        self._reach: dict[str, Reach] = {}
        self._wires: list[tuple[Wire, str]] = []
        self.declare()

    # what processes do

    async def connect(self, process: Process, purpose: str) -> Wire:
        """A connection with the topology declared; raises `BrokerAway` within a deadline."""
        reach = self._reach.get(process.name, Reach.OPEN)
        await asyncio.sleep(CONNECT_SECONDS if reach is Reach.SILENT else self._latency())
        if reach is Reach.SILENT:
            raise PublishTimeout
        if self._reach.get(process.name, Reach.OPEN) is not Reach.OPEN:
            raise ConnectionLost("refused")
        self.declare()
        wire = Wire(self._loop, process, self._latency)
        wire.server_lost = partial(self._lost, wire)
        self._wires.append((wire, purpose))
        if self.blocked and purpose == "publish":
            wire.silence(Way.UP)
        return wire

    def declare(self) -> None:
        """Makes the queues that are missing."""
        for consumer in CONSUMERS:
            for name in (*(queue_name(consumer, lane) for lane in Lane), dead_letter_queue(consumer)):
                self.queues.setdefault(name, Queue(name))

    def publish(self, wire: Wire, key: str, packet: Packet, reply: Reply) -> None:
        """A packet has arrived."""
        fates = self.fates.get(wire.process.name)
        fate = fates.popleft() if fates else Fate.CONFIRMED
        queue, lane = self._bound(key)
        if fate is Fate.RETURNED or queue is None:
            reply(Answer.RETURN)
            return
        if fate not in (Fate.SWALLOWED, Fate.CUT_BEFORE, Fate.NACKED):
            queue.ready.append(Entry(packet, lane))
            self._pump(queue)
        self._answer(wire, fate, reply)

    def depth(self, name: str, reply: Reply) -> None:
        queue = self.queues.get(name)
        reply(None if queue is None else len(queue.ready))

    def consume(self, queue: str, tap: Tap) -> None:
        if queue in self.queues:
            self.queues[queue].taps.append(tap)
            self._pump(self.queues[queue])

    def settle(self, tap: Tap, tag: int) -> None:
        """An acknowledgement has arrived."""
        entry = tap.unacked.pop(tag, None)
        for queue in self.queues.values():
            if tap in queue.taps and entry is not None:
                queue.acked.append(entry)
                self._pump(queue)

    def _answer(self, wire: Wire, fate: Fate, reply: Reply) -> None:
        if fate in (Fate.CUT_AFTER, Fate.CUT_BEFORE):
            wire.cut()
        elif fate in (Fate.NACKED, Fate.NACKED_STORED):
            reply(Answer.NACK)
        elif fate is Fate.CONFIRMED:
            reply(Answer.ACK)
        elif fate is Fate.LATE:
            delay = self._loop.rng.random() * _LATE_SECONDS
            self._loop.call_later(delay, reply, Answer.ACK, context=OUTSIDE)

    def _bound(self, key: str) -> tuple[Queue | None, Lane]:
        for consumer in CONSUMERS:
            for lane in Lane:
                if key == work_key(consumer, lane):
                    return self.queues.get(queue_name(consumer, lane)), lane
        return None, Lane.DEFAULT

    def _pump(self, queue: Queue) -> None:
        """Gives out what is ready to whoever wants it."""
        while queue.ready and (taps := [tap for tap in queue.taps if tap.wants()]):
            tap = self._loop.rng.choice(taps)
            entry = queue.ready.popleft()
            tap.given += 1
            tap.unacked[tap.given] = entry
            tap.wire.down(partial(tap.receive, tap, tap.given, entry))

    def _lost(self, wire: Wire) -> None:
        """A connection is gone: what it had not acknowledged is given to others."""
        self._wires = [(other, purpose) for other, purpose in self._wires if other is not wire]
        for queue in list(self.queues.values()):
            for tap in [tap for tap in queue.taps if tap.wire is wire]:
                queue.taps.remove(tap)
                self._give_again(queue, tap.unacked.values())

    def _give_again(self, queue: Queue, entries: Iterable[Entry]) -> None:
        for entry in reversed(list(entries)):
            entry.returns += 1
            if entry.returns > DELIVERY_LIMIT and not entry.dead:
                self._give_up(entry)
            else:
                queue.ready.appendleft(entry)
        self._pump(queue)

    def _give_up(self, entry: Entry) -> None:
        if grave := self.queues.get(dead_letter_queue(CONSUMERS[0])):
            grave.ready.append(Entry(entry.packet, entry.lane, dead=True))
            self._pump(grave)

    # what the simulation does

    def reach(self, process: str, how: Reach) -> None:
        """How the broker answers this process from now on."""
        self._reach[process] = how
        for wire, purpose in list(self._wires):
            if wire.process.name != process:
                continue
            if how is Reach.REFUSED:
                wire.cut()
            elif how is Reach.SILENT:
                wire.silence(*Way)
            elif not (self.blocked and purpose == "publish"):
                wire.speak()

    def block(self, blocked: bool) -> None:
        """A memory or disk alarm: what is published is not read; all else works."""
        self.blocked = blocked
        for wire, purpose in list(self._wires):
            if purpose == "publish":
                wire.silence(Way.UP) if blocked else wire.speak()

    def crash(self, *, wiped: bool = False) -> None:
        """All connections end; with its data, all messages too."""
        for queue in self.queues.values() if wiped else ():
            queue.ready.clear()
            queue.acked.clear()
            for tap in queue.taps:
                tap.unacked.clear()
        for wire, _ in list(self._wires):
            wire.cut()

    def cut(self, process: str) -> None:
        """A process loses its connections, and may make new ones."""
        for wire, _ in list(self._wires):
            if wire.process.name == process:
                wire.cut()

    def froze(self, process: Process) -> None:
        for wire, _ in self._wires:
            if wire.process is process:
                wire.notice_frozen()

    def delete(self, name: str) -> None:
        """A queue goes with all that is in it; its consumers are told."""
        queue = self.queues.pop(name, None)
        for tap in queue.taps if queue else ():
            tap.wire.down(tap.cancelled)

    def forget_acks(self) -> None:
        """What was acknowledged last is given out again."""
        for queue in self.queues.values():
            entries = [*queue.acked]
            queue.acked.clear()
            self._give_again(queue, entries)
