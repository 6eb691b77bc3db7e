"""The publishing connection: a packet in, and back once RabbitMQ has taken responsibility for it."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from libs.common.bus import metrics
from libs.common.bus.errors import (
    ConnectionBlocked,
    ConnectionLost,
    PublishNacked,
    PublishReturned,
    PublishTimeout,
)
from libs.common.bus.link import BrokerOptions, Link
from libs.common.bus.packing import Packet
from libs.common.bus.topology import declare
from libs.common.contracts.topology import CONSUMERS, EXCHANGE
from libs.common.errors import BrokerAway

_log = structlog.get_logger(__name__)

_PURPOSE = "publish"
_PERSISTENT = 2  # AMQP 0-9-1, delivery-mode


@dataclass(slots=True)
class _Line:
    """An open connection with everything that publishing over it needs."""

    link: Link
    channel: AbstractChannel  # carries packets and nothing else
    control: AbstractChannel  # for questions; RabbitMQ closes it when one goes wrong
    probe_queue: str


class BrokerPublisher:
    """Publishes with confirms. It does not reconnect by itself: the owner calls `probe` until that succeeds.

    `on_lost` is called at once, with a word for the cause, when the connection ends other than by `abort` or
    `close`.
    """

    def __init__(
        self,
        options: BrokerOptions,
        destinations: Sequence[str] = CONSUMERS,
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        self.on_lost = on_lost
        self._options = options
        self._destinations = tuple(destinations)
        self._opening = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._line: _Line | None = None
        self._doubted = False  # a packet found no queue: the topology has to be declared again
        self._opened_before = False
        self._connected = metrics.CONNECTED.labels(options.service, _PURPOSE)
        self._blocked = metrics.BLOCKED.labels(options.service)
        self._connected.set(0)
        self._blocked.set(0)

    @property
    def connected(self) -> bool:
        return self._line is not None

    @property
    def blocked(self) -> bool:
        """Whether RabbitMQ said that it does not read what is published; it says so only after a publish."""
        return self._line is not None and self._line.link.blocked

    async def open(self) -> None:
        """Connects and declares the topology, if need be; raises `BrokerAway` within its deadlines."""
        async with self._opening:
            if self._line is None:
                link = await Link.open(self._options, _PURPOSE)
                try:
                    line = await self._prepare(link)
                except BaseException:
                    link.drop()
                    raise
                self._take_up(line)

    async def publish(self, routing_key: str, packet: Packet, *, mandatory: bool = True) -> None:
        """Returns once RabbitMQ confirmed; else raises `BrokerAway` with a `cause` within `confirm_seconds`.

        After a timeout nobody knows whether the packet arrived; the owner calls `abort`.
        """
        line = self._ready()
        started = time.perf_counter()
        try:
            await self._send(line, routing_key, packet, mandatory=mandatory)
        except PublishReturned:
            self._doubted = True
            metrics.RETURNED.labels(self._options.service).inc()
            raise
        except PublishNacked:
            metrics.NACKED.labels(self._options.service).inc()
            raise
        metrics.CONFIRM_SECONDS.labels(self._options.service).observe(time.perf_counter() - started)

    async def probe(self) -> None:
        """Connects if need be, and proves that a message goes in and comes out; else raises `BrokerAway`.

        It takes the channel and the exchange that packets take. After a failure the connection is dropped, so
        that the next probe starts from nothing: it connects and declares the topology again.
        """
        async with self._probing:
            if self._doubted:
                self.abort()
            await self.open()
            try:
                await self._round_trip(self._ready(or_blocked=True))
            except BrokerAway:
                self.abort()
                raise
        self._blocked.set(0)

    async def depth(self, queue: str) -> int:
        """Messages ready in a queue, not those with consumers; raises `BrokerAway`, also if it is missing."""
        line = self._ready(or_blocked=True)
        if line.control.is_closed:
            line.control = await line.link.channel(confirms=False, vital=False)
        declared = await line.link.call(line.control.queue_declare(queue, passive=True))
        return declared.message_count or 0

    def abort(self) -> None:
        """Drops the connection without waiting for the peer; publishes under way raise `ConnectionLost`."""
        if (line := self._put_down()) is not None:
            line.link.drop()

    async def close(self) -> None:
        """Says goodbye to RabbitMQ, within a deadline. Publishes under way fail with `ConnectionLost`."""
        if (line := self._put_down()) is not None:
            await line.link.close(self._options.confirm_seconds)

    async def _prepare(self, link: Link) -> _Line:
        channel = await link.channel(confirms=True)
        control = await link.channel(confirms=False, vital=False)
        await link.call(declare(control, self._destinations), self._options.declare_seconds)
        probe_queue = await link.call(_declare_probe(control))
        return _Line(link, channel, control, probe_queue)

    def _take_up(self, line: _Line) -> None:
        if not line.link.alive:
            raise ConnectionLost
        line.link.on_lost = self._lost
        self._line, self._doubted = line, False
        self._connected.set(1)
        if self._opened_before:
            metrics.RECONNECTS.labels(self._options.service, _PURPOSE).inc()
        self._opened_before = True
        _log.info("Connected to RabbitMQ for publishing.", service=self._options.service)

    def _put_down(self) -> _Line | None:
        line, self._line = self._line, None
        self._connected.set(0)
        if line is not None:
            line.link.on_lost = None
        return line

    def _lost(self) -> None:
        self._put_down()
        _log.warning("The publishing connection to RabbitMQ was lost.", service=self._options.service)
        if self.on_lost is not None:
            self.on_lost(str(ConnectionLost.cause))

    def _ready(self, *, or_blocked: bool = False) -> _Line:
        if self._line is None:
            raise ConnectionLost("not connected to RabbitMQ")
        if not or_blocked and self._line.link.blocked:
            self._blocked.set(1)
            raise ConnectionBlocked
        return self._line

    async def _send(self, line: _Line, routing_key: str, packet: Packet, *, mandatory: bool) -> None:
        sending = line.channel.basic_publish(
            packet.body,
            exchange=EXCHANGE,
            routing_key=routing_key,
            properties=_properties(packet),
            mandatory=mandatory,
        )
        try:
            await line.link.attempt(sending, self._options.confirm_seconds)
        except PublishTimeout:
            if not line.link.blocked:
                raise
            self._blocked.set(1)
            raise ConnectionBlocked from None

    async def _round_trip(self, line: _Line) -> None:
        token = os.urandom(16)
        packet = Packet(token, {}, "application/octet-stream", token.hex(), count=1)
        await self._send(line, _probe_key(line.probe_queue), packet, mandatory=True)
        got = await line.link.call(line.control.basic_get(line.probe_queue, no_ack=True))
        if got.body != token:
            raise PublishTimeout("RabbitMQ confirmed a probe but did not give it back")


async def _declare_probe(channel: AbstractChannel) -> str:
    """A queue of this connection alone, which goes with it."""
    name = f"shopbus.probe.{os.urandom(8).hex()}"
    await channel.queue_declare(name, exclusive=True, auto_delete=True)
    await channel.queue_bind(name, EXCHANGE, routing_key=_probe_key(name))
    return name


def _probe_key(queue: str) -> str:
    return f"probe.{queue}"


def _properties(packet: Packet) -> Basic.Properties:
    return Basic.Properties(
        content_type=packet.content_type,
        headers=dict(packet.headers),
        delivery_mode=_PERSISTENT,
        message_id=packet.message_id,
        app_id="shopbus",
    )
