"""What the tests of libs/common/bus share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.deliveries import IncomingWork
from libs.common.bus.link import BrokerOptions
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane, work_key
from libs.common.ids import IdFactory
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

DESTINATION = "worker"
KEY = work_key(DESTINATION, Lane.DEFAULT)

_ids = IdFactory()


def message(body: bytes = b"{}") -> Message:
    return Message(
        id=_ids.new(),
        type="webhook.orders.create",
        source="webhooks",
        shop="a.myshopify.com",
        time=datetime.now(UTC),
        body=body,
    )


def options(url: str, **changes: float) -> BrokerOptions:
    """Generous deadlines, since the machine is shared; and heartbeats too late to help, unless a test wants them."""
    patient = {
        "heartbeat_seconds": 600,
        "connect_seconds": 10.0,
        "confirm_seconds": 5.0,
        "declare_seconds": 20.0,
        "check_seconds": 60.0,
    }
    return BrokerOptions(url, "test", **(patient | changes))  # type: ignore[arg-type]


async def eventually(condition: Callable[[], Awaitable[bool]], within: float = 60) -> None:
    """Waits until an async condition is true."""
    either: Callable[[], bool | Awaitable[bool]] = condition
    await poll(either, within)


async def freeze(rabbit: RabbitNode) -> None:
    """Freezes RabbitMQ and returns when it is frozen: a stop signal takes a moment to reach every thread."""
    await asyncio.to_thread(rabbit.freeze)
    await eventually(lambda: _silent(rabbit.port))


async def _silent(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"AMQP\x00\x00\x09\x01")
    try:
        async with asyncio.timeout(0.2):
            await reader.readexactly(1)
    except TimeoutError:
        return True
    finally:
        writer.close()
    return False


def vhost_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


@asynccontextmanager
async def publishing(url: str, **changes: float) -> AsyncIterator[BrokerPublisher]:
    """An open publisher, dropped at the end."""
    publisher = BrokerPublisher(options(url, **changes), [DESTINATION])
    try:
        await publisher.open()
        yield publisher
    finally:
        publisher.abort()


@dataclass
class Inbox:
    """A consumer's owner, who acknowledges at once unless told to hold."""

    hold: bool = False
    works: list[IncomingWork] = field(default_factory=list)
    ups: int = 0
    downs: int = 0
    consumer: BrokerConsumer = field(init=False)

    def deliver(self, work: IncomingWork) -> None:
        self.works.append(work)
        if not self.hold:
            work.ack()

    def went_up(self) -> None:
        self.ups += 1

    def went_down(self) -> None:
        self.downs += 1

    @property
    def messages(self) -> list[Message]:
        return [one for work in self.works for one in work.messages]

    async def up(self, times: int = 1) -> None:
        await poll(lambda: self.ups >= times, within=60)

    async def down(self, times: int = 1) -> None:
        await poll(lambda: self.downs >= times, within=60)

    async def has(self, works: int) -> None:
        await poll(lambda: len(self.works) >= works, within=30)


@asynccontextmanager
async def consuming(
    url: str,
    *,
    hold: bool = False,
    deliver: Callable[[IncomingWork], None] | None = None,
    prefetch: Mapping[Lane, int] | None = None,
    **changes: float,
) -> AsyncIterator[Inbox]:
    """A consumer that is up, cancelled at the end."""
    inbox = Inbox(hold)
    inbox.consumer = BrokerConsumer(
        options(url, **changes),
        DESTINATION,
        deliver or inbox.deliver,
        prefetch or dict.fromkeys(Lane, 20),
        on_up=inbox.went_up,
        on_down=inbox.went_down,
    )
    running = asyncio.create_task(inbox.consumer.run())
    try:
        await inbox.up()
        yield inbox
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def other_tasks() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}
