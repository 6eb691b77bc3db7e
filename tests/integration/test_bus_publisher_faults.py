"""Publishing to a RabbitMQ that dies, freezes, chokes or is something else altogether.

Heartbeats are ten minutes apart in all but one, so that nothing but our own deadlines can end a wait.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from libs.common.bus import metrics
from libs.common.bus.errors import BusError, ConnectionBlocked, ConnectionLost, PublishFailure, PublishTimeout
from libs.common.bus.packing import Packet, encode
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.topology import Lane, queue_name
from libs.common.errors import BrokerAway
from tests.integration.bus_kit import (
    DESTINATION,
    KEY,
    eventually,
    freeze,
    message,
    options,
    other_tasks,
    publishing,
)
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

QUEUE = queue_name(DESTINATION, Lane.DEFAULT)
BIG = b"x" * 2_000_000  # more than the sockets between us and RabbitMQ hold


async def recovered(publisher: BrokerPublisher) -> bool:
    """Whether a probe succeeds, as the owner would try again and again."""
    try:
        await publisher.probe()
    except BrokerAway:
        return False
    return True


async def until_it_fails(publisher: BrokerPublisher, confirmed: list[Packet]) -> BusError:
    """Publishes without a pause, notes what was confirmed, and returns the first error."""
    while True:
        packet = encode([message()])
        try:
            await publisher.publish(KEY, packet)
        except BusError as error:
            return error
        confirmed.append(packet)


async def deeper(publisher: BrokerPublisher, least: int) -> bool:
    """Whether the queue holds so many packets; just after a restart, RabbitMQ says 0 for a while."""
    return await publisher.depth(QUEUE) >= least


@pytest.fixture
async def frozen(rabbit: RabbitNode) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Freezes RabbitMQ on demand, and thaws it whatever happens."""
    yield partial(freeze, rabbit)
    await asyncio.to_thread(rabbit.heal)


async def test_a_broker_killed_while_publishing_is_noticed_and_used_again(
    rabbit: RabbitNode, broker_url: str
) -> None:
    causes: list[str] = []
    async with publishing(broker_url) as publisher:
        publisher.on_lost = causes.append
        confirmed: list[Packet] = []
        failing = asyncio.create_task(until_it_fails(publisher, confirmed))
        await poll(lambda: len(confirmed) > 10)
        await asyncio.to_thread(rabbit.kill)
        assert isinstance(await failing, ConnectionLost)
        await poll(lambda: causes == ["connection"])
        assert not publisher.connected
        with pytest.raises(ConnectionLost):
            await publisher.probe()
        await asyncio.to_thread(rabbit.start)
        await eventually(lambda: recovered(publisher))
        await publisher.publish(KEY, encode([message()]))
        await eventually(lambda: deeper(publisher, len(confirmed) + 1))


async def test_the_loss_of_an_idle_connection_is_told_at_once(rabbit: RabbitNode, broker_url: str) -> None:
    causes: list[str] = []
    async with publishing(broker_url) as publisher:
        publisher.on_lost = causes.append
        await asyncio.to_thread(rabbit.close_connections)
        await poll(lambda: causes == ["connection"])
        assert not publisher.connected
        await publisher.probe()


async def test_a_frozen_broker_is_a_timeout_and_abort_leaves_nothing_waiting(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    before = other_tasks()
    async with publishing(broker_url, confirm_seconds=0.5) as publisher:
        await frozen()
        with pytest.raises(PublishTimeout) as caught:
            await publisher.publish(KEY, encode([message()]))
        assert caught.value.cause is PublishFailure.TIMEOUT
        publisher.abort()
        await poll(lambda: other_tasks() == before)  # RabbitMQ is still frozen
        assert not publisher.connected


async def test_a_frozen_broker_that_reads_nothing_holds_up_neither_many_publishes_nor_abort(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    before = other_tasks()
    async with publishing(broker_url, confirm_seconds=0.5) as publisher:
        await frozen()
        outcomes = await asyncio.gather(
            *(publisher.publish(KEY, encode([message(BIG)])) for _ in range(20)), return_exceptions=True
        )
        assert {type(one) for one in outcomes} == {PublishTimeout}
        publisher.abort()
        await poll(lambda: other_tasks() == before)


async def test_abort_ends_the_publishes_under_way(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    async with publishing(broker_url, confirm_seconds=600) as publisher:
        await frozen()
        waiting = [asyncio.create_task(publisher.publish(KEY, encode([message(BIG)]))) for _ in range(20)]
        await asyncio.wait(waiting, timeout=0.2)
        publisher.abort()
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), timeout=10)
        assert {type(one) for one in outcomes} == {ConnectionLost}


async def test_a_cancelled_publish_leaves_nothing_waiting(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    before = other_tasks()
    async with publishing(broker_url, confirm_seconds=600) as publisher:
        await frozen()
        waiting = [asyncio.create_task(publisher.publish(KEY, encode([message(BIG)]))) for _ in range(20)]
        await asyncio.wait(waiting, timeout=0.2)
        for task in waiting:
            task.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), timeout=10)
        assert {type(one) for one in outcomes} == {asyncio.CancelledError}
        publisher.abort()
        await poll(lambda: other_tasks() == before)


async def test_missed_heartbeats_are_a_lost_connection_and_no_cancellation(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    """Aiormq ends its calls with a CancelledError then, which would silently end whoever published."""
    causes: list[str] = []
    async with publishing(broker_url, confirm_seconds=600, heartbeat_seconds=1) as publisher:
        publisher.on_lost = causes.append
        await frozen()
        with pytest.raises(ConnectionLost):
            await publisher.publish(KEY, encode([message()]))
        assert causes == ["connection"]


async def test_every_other_call_to_a_frozen_broker_ends_too(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    before = other_tasks()
    deadlines = {"confirm_seconds": 0.5, "connect_seconds": 0.5}
    publisher = BrokerPublisher(options(broker_url, **deadlines), [DESTINATION])
    await eventually(lambda: recovered(publisher))
    await frozen()
    with pytest.raises(PublishTimeout):
        await publisher.depth(QUEUE)
    await poll(lambda: not publisher.connected)
    with pytest.raises(PublishTimeout):
        await publisher.probe()  # the kernel still accepts the connection
    await publisher.close()
    await poll(lambda: other_tasks() == before)


async def test_closing_a_connection_to_a_frozen_broker_ends(
    broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    before = other_tasks()
    async with publishing(broker_url, confirm_seconds=0.5) as publisher:
        await frozen()
        await publisher.close()
        await poll(lambda: other_tasks() == before)


async def test_a_thawed_broker_is_used_again(
    rabbit: RabbitNode, broker_url: str, frozen: Callable[[], Awaitable[None]]
) -> None:
    async with publishing(broker_url, confirm_seconds=1) as publisher:
        await frozen()
        with pytest.raises(PublishTimeout):
            await publisher.publish(KEY, encode([message()]))
        publisher.abort()
        await asyncio.to_thread(rabbit.thaw)
        await eventually(lambda: recovered(publisher))
        await publisher.publish(KEY, encode([message()]))


@pytest.mark.parametrize("alarm", ["memory", "disk"])
async def test_an_alarm_blocks_publishing_until_it_ends(
    rabbit: RabbitNode, broker_url: str, alarm: str
) -> None:
    """Aio-pika #506, Celery #2689, LavinMQ #2197: a blocked connection looks well, and nobody is told."""
    raise_alarm = rabbit.raise_memory_alarm if alarm == "memory" else rabbit.raise_disk_alarm
    async with publishing(broker_url, confirm_seconds=1) as publisher:
        await asyncio.to_thread(raise_alarm)
        with pytest.raises(ConnectionBlocked) as caught:
            await publisher.publish(KEY, encode([message()]))
        assert caught.value.cause is PublishFailure.BLOCKED
        assert publisher.blocked
        assert metrics.BLOCKED.labels("test")._value.get() == 1
        with pytest.raises(ConnectionBlocked):
            await publisher.publish(KEY, encode([message()]))
        publisher.abort()
        assert not await recovered(publisher)
        await asyncio.to_thread(rabbit.clear_alarms)
        await eventually(lambda: recovered(publisher))
        assert not publisher.blocked
        assert metrics.BLOCKED.labels("test")._value.get() == 0
        await publisher.publish(KEY, encode([message()]))


async def test_a_connection_that_was_blocked_and_kept_works_when_the_alarm_ends(
    rabbit: RabbitNode, broker_url: str
) -> None:
    async with publishing(broker_url, confirm_seconds=1) as publisher:
        await asyncio.to_thread(rabbit.raise_memory_alarm)
        with pytest.raises(BrokerAway):
            await publisher.publish(KEY, encode([message()]))
        await asyncio.to_thread(rabbit.clear_alarms)
        await poll(lambda: not publisher.blocked)
        await publisher.publish(KEY, encode([message()]))
        assert await publisher.depth(QUEUE) == 2  # the one that timed out arrived after all


async def test_a_wiped_broker_gets_its_topology_again(rabbit: RabbitNode) -> None:
    async with publishing(rabbit.url) as publisher:
        await publisher.publish(KEY, encode([message()]))
        await asyncio.to_thread(rabbit.wipe)
        await asyncio.to_thread(rabbit.start)
        await eventually(lambda: recovered(publisher))
        assert await publisher.depth(QUEUE) == 0
        await publisher.publish(KEY, encode([message()]))
        assert await publisher.depth(QUEUE) == 1


async def test_without_a_server_connecting_is_an_error(rabbit: RabbitNode, broker_url: str) -> None:
    await asyncio.to_thread(rabbit.kill)
    publisher = BrokerPublisher(options(broker_url), [DESTINATION])
    with pytest.raises(ConnectionLost):
        await publisher.open()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)
    writer.close()


@pytest.mark.parametrize("peer", [_say_nothing, _speak_http, _hang_up])
async def test_a_peer_that_is_no_broker_does_not_wedge_connecting(
    peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    tasks: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await peer(reader, writer)
        finally:
            writer.close()

    before = other_tasks()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        publisher = BrokerPublisher(options(f"amqp://127.0.0.1:{port}/", connect_seconds=0.3), [DESTINATION])
        for _ in range(2):
            with pytest.raises(BusError):
                await publisher.probe()
        assert not publisher.connected
        await poll(lambda: other_tasks() == before and len(tasks) == 2)
