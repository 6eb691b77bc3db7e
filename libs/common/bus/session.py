"""One consuming connection from start to end: a channel for each lane, and one for the dead letters."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage

from libs.common.bus import metrics
from libs.common.bus.acks import Acks
from libs.common.bus.deliveries import IncomingWork, read
from libs.common.bus.errors import PublishTimeout, QueueSilent
from libs.common.bus.link import BrokerOptions, Link
from libs.common.bus.packing import InvalidPacket
from libs.common.bus.topology import declare
from libs.common.contracts.topology import Lane, dead_letter_queue, queue_name
from libs.common.errors import BrokerAway

_log = structlog.get_logger(__name__)

_DEAD_LETTER_PREFETCH = 10
_DELETE_SECONDS = 15.0  # RabbitMQ itself waits five for the members of a queue

Deliver = Callable[[IncomingWork], None]


@dataclass(frozen=True, slots=True)
class _Source:
    """A queue to consume from."""

    queue: str
    lane: Lane
    prefetch: int
    dead_lettered: bool = False


@dataclass(frozen=True, slots=True)
class _Tap:
    """A queue that is being consumed from."""

    source: _Source
    channel: AbstractChannel
    consumer_tag: str
    acks: Acks
    acker: asyncio.Task[None]

    @classmethod
    def of(cls, source: _Source, channel: AbstractChannel, service: str) -> Self:
        acks = Acks(channel, service)
        acker = asyncio.get_running_loop().create_task(acks.run())
        return cls(source, channel, f"{service}.{source.queue}.{os.urandom(8).hex()}", acks, acker)


class Session:
    """Ends as a whole: `ended` holds the reason once any part of it is gone."""

    def __init__(self, link: Link, options: BrokerOptions, deliver: Deliver) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._link = link
        self._options = options
        self._deliver = deliver
        self._taps: list[_Tap] = []
        self._paused = False
        self._deliveries_wanted = asyncio.Event()
        link.on_lost = partial(self._end, "the connection was lost")

    @classmethod
    async def start(
        cls,
        options: BrokerOptions,
        destination: str,
        deliver: Deliver,
        prefetch: Mapping[Lane, int],
        *,
        replace: str | None = None,
    ) -> Self:
        """Connects, declares and starts consuming; raises `BrokerAway` within its deadlines.

        Deliveries wait for `go`. A queue to `replace` is deleted first, with all that is in it.
        """
        session = cls(await Link.open(options, "consume"), options, deliver)
        try:
            await session._declare(destination, replace)
            for source in _sources(destination, prefetch):
                await session._consume(source)
        except BaseException:
            session.drop()
            raise
        return session

    def go(self) -> None:
        """Lets deliveries through, which waited until all of the session stood."""
        self._deliveries_wanted.set()

    async def check(self, seconds: float) -> None:
        """Asks RabbitMQ for a queue; without an answer in time, raises `BrokerAway` and ends the session."""
        tap = self._taps[0]
        try:
            await self._link.call(tap.channel.queue_declare(tap.source.queue, passive=True), seconds)
        except BrokerAway:
            self._end("a check failed")
            raise

    async def pause(self) -> None:
        """Stops deliveries; where RabbitMQ does not answer, the session ends."""
        self._paused = True
        try:
            for tap in self._taps:
                await self._link.call(tap.channel.basic_cancel(tap.consumer_tag))
        except BrokerAway as error:
            self._end(f"consuming could not be paused: {error}")

    async def close(self) -> None:
        """Sends what was acknowledged, says goodbye, and ends, within deadlines."""
        self._paused = True
        try:
            await self._link.attempt(self._acks_sent(), self._options.connect_seconds)
            await self._link.close(self._options.connect_seconds)
        except BrokerAway as error:
            _log.info("RabbitMQ may deliver again what was acknowledged last.", error=str(error))
        finally:
            self._end("closed")
            self.drop()

    def drop(self) -> None:
        """Ends everything at once."""
        self._link.on_lost = None
        self._link.drop()
        for tap in self._taps:
            tap.acker.cancel()

    async def _acks_sent(self) -> None:
        for tap in self._taps:
            await tap.acks.sent()

    async def _declare(self, destination: str, replace: str | None) -> None:
        channel = await self._link.channel(confirms=False)
        if replace is not None:
            _log.warning("A queue that answers nobody is deleted and made anew.", queue=replace)
            await self._link.call(channel.queue_delete(replace), _DELETE_SECONDS)
        await self._link.call(declare(channel, (destination,)), self._options.declare_seconds)

    async def _consume(self, source: _Source) -> None:
        tap = _Tap.of(source, await self._link.channel(confirms=False), self._options.service)
        self._taps.append(tap)
        tap.acker.add_done_callback(lambda _: self._end(f"the channel of {source.queue} was lost"))
        tap.channel.on_consumer_cancel_callbacks.add(
            lambda _: self._end(f"RabbitMQ cancelled the consumer of {source.queue}")
        )
        receive = partial(self._receive, source, tap.acks)
        await self._link.call(tap.channel.basic_qos(prefetch_count=source.prefetch))
        consuming = tap.channel.basic_consume(source.queue, receive, consumer_tag=tap.consumer_tag)
        try:
            await self._link.call(consuming)
        except PublishTimeout as error:
            raise QueueSilent(source.queue) from error

    async def _receive(self, source: _Source, acks: Acks, delivery: DeliveredMessage) -> None:
        """Takes a delivery. One neither taken nor refused would fill the prefetch until nothing moves."""
        await self._deliveries_wanted.wait()
        tag = delivery.delivery_tag
        if self._paused or self.ended.done() or tag is None:
            return  # goes back to RabbitMQ with the connection
        try:
            self._deliver(
                read(delivery, source.lane, partial(acks.add, tag), dead_lettered=source.dead_lettered)
            )
        except InvalidPacket as error:
            metrics.INVALID_PACKETS.labels(self._options.service).inc()
            _log.warning("A packet cannot be read and is dropped.", queue=source.queue, error=str(error))
            acks.add(tag)  # if it stood for work of ours, its rows in Postgres bring that back
        except Exception:  # noqa: BLE001  # whatever the receiver did, RabbitMQ has to bring it again
            _log.exception("Work was not taken; the connection starts over.", queue=source.queue)
            self._end("work was not taken")

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


def _sources(destination: str, prefetch: Mapping[Lane, int]) -> list[_Source]:
    lanes = [_Source(queue_name(destination, lane), lane, count) for lane, count in prefetch.items()]
    dead = _Source(dead_letter_queue(destination), Lane.DEFAULT, _DEAD_LETTER_PREFETCH, dead_lettered=True)
    return [*lanes, dead]
