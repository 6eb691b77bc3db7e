"""One AMQP connection that can always be dropped, and calls over it that always end.

aiormq, the engine of aio-pika, closes a connection politely: it says goodbye and waits for the answer. With a
frozen peer that takes until heartbeats are missed, and a cancelled call waits with it. So a `Link` holds the
socket itself: dropping it ends everything at once, and its loss is known when the kernel knows.

aio-pika itself is left out. Its `Connection.close`, when cancelled, waits for its own callback for ever, which
keeps a process from ending, and its objects close themselves that way when they are collected.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import structlog
from aiormq.abc import AbstractChannel
from aiormq.connection import Connection, TransportFactory
from yarl import URL

from libs.common.bus.errors import ConnectionLost, PublishTimeout, named
from libs.common.errors import ConfigurationError
from libs.common.settings import CommonSettings

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_LAST_WORDS_SECONDS = 0.1  # for what the peer said before it hung up: a confirm, or the reason


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Where RabbitMQ is and how long it may take; all times in seconds."""

    url: str = field(repr=False)
    service: str
    heartbeat_seconds: int = 5
    connect_seconds: float = 3.0  # to connect, and for any answer but a confirm
    confirm_seconds: float = 0.7
    declare_seconds: float = 5.0  # for the whole topology: making quorum queues is slow
    check_seconds: float = (
        1.5  # for the answer to the question, once a second, whether a consuming connection lives
    )
    silence_seconds: float = 20.0  # after which a queue without a leader is deleted and made anew

    def __post_init__(self) -> None:
        try:
            usable = URL(self.url).scheme in ("amqp", "amqps")
        except ValueError:
            usable = False
        if not usable:  # the message must not quote it: it holds a password
            raise ConfigurationError("RABBITMQ_URL is not a URL that starts with amqp:// or amqps://")

    @classmethod
    def of(cls, settings: CommonSettings, service: str) -> Self:
        """What the settings say; raises `ConfigurationError` without a usable RABBITMQ_URL."""
        if settings.rabbitmq_url is None:
            raise ConfigurationError("RABBITMQ_URL is not set")
        return cls(
            settings.rabbitmq_url.get_secret_value(),
            service,
            heartbeat_seconds=settings.broker_heartbeat_seconds,
            connect_seconds=settings.broker_connect_seconds,
            confirm_seconds=settings.broker_confirm_seconds,
        )


class Link:
    """One connection. `lost` is done once it is gone, for whatever reason."""

    def __init__(self, connection: Connection, socket: "_Socket", answer_seconds: float) -> None:
        self.lost = socket.lost
        self.on_lost: Callable[[], None] | None = None
        self._connection = connection
        self._socket = socket
        self._answer_seconds = answer_seconds
        self.lost.add_done_callback(self._tell_owner)

    @classmethod
    async def open(cls, options: BrokerOptions, purpose: str) -> Self:
        """Connects within the deadline, whatever the peer does or does not say."""
        socket = _Socket()
        connection = Connection(
            URL(options.url).update_query(heartbeat=options.heartbeat_seconds),
            transport_factory=socket,
            client_properties={"connection_name": f"shopbus {options.service} {purpose}"},
        )
        try:
            await _ended(connection.connect(), options.connect_seconds, socket.lost)
        except BaseException:
            socket.drop()
            raise
        return cls(connection, socket, options.connect_seconds)

    @property
    def alive(self) -> bool:
        return not self.lost.done()

    @property
    def blocked(self) -> bool:
        """Whether RabbitMQ said, by connection.blocked, that it stopped reading because of an alarm.

        aiormq tells it by letting `ready()` wait, and by nothing else that is public; so this takes its first
        step. It is known late or never: RabbitMQ says it only after a publish, and says nothing while frozen.
        """
        waiting = self._connection.ready()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return True

    async def channel(self, *, confirms: bool, vital: bool = True) -> AbstractChannel:
        """A new channel. When RabbitMQ closes a vital one, the link is dropped: half of it is no use."""
        channel = await self.call(
            self._connection.channel(publisher_confirms=confirms, on_return_raises=True)
        )
        if vital:
            channel.closing.add_done_callback(lambda _: self.drop())
        return channel

    async def call(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Awaits an answer. Past the deadline the link is dropped: nothing else is sure to end the call."""
        try:
            return await _ended(work, seconds or self._answer_seconds, self.lost)
        except PublishTimeout:
            self.drop()
            raise

    async def attempt(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Awaits an answer. Past the deadline only this call ends, and others keep the link."""
        return await _ended(work, seconds, self.lost)

    def drop(self) -> None:
        """Ends the connection at once, without a word to the peer."""
        self._socket.drop()

    async def close(self, seconds: float) -> None:
        """Says goodbye, and drops the connection if that is not answered in time."""
        self.on_lost = None
        try:
            await _ended(self._connection.close(), seconds, self.lost)
        except (PublishTimeout, ConnectionLost) as error:
            _log.debug("RabbitMQ did not answer the goodbye.", error=str(error))
        finally:
            self.drop()

    def _tell_owner(self, _: object) -> None:
        if self.on_lost is not None:
            self.on_lost()


class _Socket(TransportFactory):
    """Opens the socket in aiormq's stead, and notices its end before aiormq does."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        provider = options.pop("ssl_context_provider")
        tls = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = _Protocol(reader, self)
        transport, _ = await loop.create_connection(
            lambda: protocol, url.host or "localhost", url.port or 5672, ssl=tls, **options
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def opened(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def closed(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's stream protocol, which also tells the socket when it begins and ends."""

    def __init__(self, reader: asyncio.StreamReader, socket: _Socket) -> None:
        super().__init__(reader)
        self._socket = socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket.opened(transport)  # type: ignore[arg-type]  # a TCP transport can write

    def eof_received(self) -> bool:
        super().eof_received()
        self._socket.drop()  # AMQP knows no half-closed connection; what was read already stays readable
        return False

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._socket.closed()


async def _ended(work: Coroutine[Any, Any, T], seconds: float, lost: asyncio.Future[None]) -> T:
    """The result of a call, or an error of ours once it fails, its deadline passes or the connection is lost.

    It runs in a task of its own that is never waited for once cancelled: aiormq's calls write to the peer
    when they are cancelled, and may wait for that as long as the connection lives.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_look_at)
    either: set[asyncio.Future[Any]] = {task, lost}
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            await asyncio.wait({task}, timeout=_LAST_WORDS_SECONDS)
    finally:
        finished = task.done()
        task.cancel()
    if not finished:
        raise ConnectionLost if lost.done() else PublishTimeout
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return task.result()
    if meaning := named(error) or (ConnectionLost() if lost.done() else None):
        raise meaning from error
    raise error


def _look_at(task: "asyncio.Future[Any]") -> None:
    """Takes note of a late failure, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
