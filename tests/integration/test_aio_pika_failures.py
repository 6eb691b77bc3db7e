"""What aio-pika does to its users when RabbitMQ leaves, stays silent or blocks, tried on shopbus (QUEUES.md 3.6, 3.7).

Heartbeats are ten minutes apart, so that nothing but our own deadlines can end a wait.
"""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from libs.common.bus.errors import ConnectionBlocked, ConnectionLost, PublishTimeout
from libs.common.bus.packing import encode
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import Lane, work_key
from libs.common.errors import BrokerAway
from libs.common.outbox.circuit import State
from services.worker.sdk import Context, Message, on
from tests.integration.bus_kit import (
    DESTINATION,
    KEY,
    Inbox,
    consuming,
    eventually,
    message,
    publishing,
    vhost_of,
)
from tests.integration.detours import Detour, through_proxy
from tests.integration.protocol import LONG, counted, effect, registry, system, trusted
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

FREED = "SELECT count(*) = $1 FROM webhooks.outbox WHERE holder IS NULL"


@on("webhook.plain")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@pytest.fixture
def detour(rabbit: RabbitNode, broker_url: str) -> Iterator[Detour]:
    with through_proxy(broker_url) as way:
        yield way


async def received_in_each_lane(publisher: BrokerPublisher, inbox: Inbox) -> None:
    """Fails unless what is published now comes out, whatever its lane."""
    sent = {lane: message() for lane in Lane}
    for lane, one in sent.items():
        await publisher.publish(work_key(DESTINATION, lane), encode([one]))
    await poll(lambda: all(one in inbox.messages for one in sent.values()), within=LONG)


async def answers(publisher: BrokerPublisher) -> bool:
    try:
        await publisher.probe()
    except BrokerAway:
        return False
    return True


# alarms


async def test_a_new_channel_on_a_blocked_connection_is_not_waited_for_without_limit(
    rabbit: RabbitNode, broker_url: str
) -> None:
    """Aio-pika #506: RabbitMQ reads nothing from a connection that it blocked, and nobody is told."""
    async with publishing(broker_url, confirm_seconds=1, connect_seconds=1) as publisher:
        await asyncio.to_thread(rabbit.raise_memory_alarm)
        with pytest.raises(ConnectionBlocked):
            await publisher.publish(KEY, encode([message()]))
        assert publisher._line is not None
        async with asyncio.timeout(LONG / 2):
            with pytest.raises(PublishTimeout):
                await publisher._line.link.channel(confirms=False)


async def test_acknowledgements_are_read_while_publishing_is_blocked(
    rabbit: RabbitNode, broker_url: str
) -> None:
    """On a connection that also publishes, acknowledgements succeed here and are never read there."""
    async with (
        publishing(broker_url, confirm_seconds=1) as publisher,
        consuming(broker_url, hold=True) as inbox,
    ):
        for _ in range(3):
            await publisher.publish(KEY, encode([message()]))
        await inbox.has(3)
        await asyncio.to_thread(rabbit.raise_memory_alarm)
        with pytest.raises(ConnectionBlocked):
            await publisher.publish(KEY, encode([message()]))
        for acknowledged, work in enumerate(inbox.works):
            left = len(inbox.works) - acknowledged
            await eventually(lambda left=left: holds(rabbit, broker_url, left))  # type: ignore[misc]
            work.ack()  # one by one: RabbitMQ reads some more even after it blocked
        await eventually(lambda: holds(rabbit, broker_url, 0))


async def holds(rabbit: RabbitNode, url: str, number: int) -> bool:
    """Whether RabbitMQ says that its queues hold so many messages, with consumers or not; it counts now and then."""
    return await asyncio.to_thread(rabbit.messages, vhost_of(url)) == number


async def test_a_publish_that_timed_out_and_arrived_all_the_same_has_one_effect(
    database: str, detour: Detour, broker_url: str
) -> None:
    """A publish that timed out is usually delivered all the same: five of five times when it was measured."""
    quick = {"broker_confirm_seconds": 1.0, "broker_lease_seconds": 600.0}
    async with system(database, detour.url, **quick) as one:
        detour.proxy.hold("to_client")
        async with one.pool.acquire() as conn, conn.transaction():
            pack = await one.producer.put(conn, [Draft("webhook.plain", b"{}")] * 20)
        one.producer.sent(pack)
        await poll(lambda: one.pool.fetchval(FREED, 20), within=LONG)
        async with one.working(registry(keep), rabbitmq_url=None):
            await one.finished()
        copies = duplicates()
        async with one.working(registry(keep), rabbitmq_url=SecretStr(broker_url)):
            await poll(lambda: duplicates() == copies + 20, within=LONG)
        await one.done_once([out.id for out in pack])
        detour.proxy.heal()


def duplicates() -> float:
    return counted("worker_messages_total", handler="tested.keep", result="duplicate")


# connecting


async def test_publishing_while_the_connection_is_being_made_does_not_wait_for_it(detour: Detour) -> None:
    """Aio-pika waits for its connection outside the timeout of a publish."""
    async with publishing(detour.url, connect_seconds=LONG) as publisher:
        detour.proxy.blackhole()
        publisher.abort()
        opening = asyncio.create_task(publisher.open())
        await poll(publisher._opening.locked)
        async with asyncio.timeout(LONG / 2):
            with pytest.raises(ConnectionLost):
                await publisher.publish(KEY, encode([message()]))
        assert not opening.done()
        opening.cancel()


async def test_a_reconnect_that_meets_a_silent_peer_is_given_up_and_begun_again(detour: Detour) -> None:
    """`connect_robust` without a timeout never comes back from one attempt that is not answered."""
    async with (
        publishing(detour.url, connect_seconds=1) as publisher,
        consuming(detour.url, connect_seconds=1) as inbox,
    ):
        detour.proxy.blackhole()
        detour.proxy.cut()
        await inbox.down()
        await poll(lambda: detour.proxy.connections >= 3, within=LONG)  # it gives up, and tries again
        async with asyncio.timeout(LONG / 2):
            assert not await answers(publisher)
        detour.proxy.heal()
        await inbox.up(2)
        await eventually(lambda: answers(publisher))
        await received_in_each_lane(publisher, inbox)


async def test_a_silent_publishing_connection_is_found_out_without_heartbeats_and_without_work(
    database: str, detour: Detour
) -> None:
    """Aio-pika notices a peer that says nothing after three heartbeats: three minutes by default."""
    patient = {"broker_confirm_seconds": 1.0, "broker_heartbeat_seconds": 600}
    async with system(database, detour.url, **patient) as one:
        assert one.producer.broker is not None
        circuit = one.producer.broker.circuit
        detour.proxy.blackhole()
        await poll(lambda: circuit.state is State.OPEN, within=LONG)
        detour.proxy.heal()
        await trusted(one.producer)


async def test_a_silent_consuming_connection_holds_up_work_for_a_lease_and_no_longer(
    database: str, detour: Detour, broker_url: str
) -> None:
    """Aio-pika notices a peer that says nothing after three heartbeats: three minutes by default."""
    patient = {"broker_lease_seconds": 3.0, "broker_heartbeat_seconds": 600}
    async with (
        system(database, broker_url, **patient) as one,
        one.working(registry(keep), rabbitmq_url=detour.secret),
    ):
        detour.proxy.blackhole()
        ids = await one.accept_many(20, "webhook.plain")
        await one.finished()
        await one.done_once(ids)
        detour.proxy.cut()
        detour.proxy.heal()


# consuming


async def test_what_consumes_is_not_lost_to_the_garbage_collector(detour: Detour) -> None:
    """Aio-pika #594: queues are kept weakly, and those that were collected are not restored after a reconnect."""
    async with publishing(detour.url) as publisher, consuming(detour.url) as inbox:
        gc.collect()
        await received_in_each_lane(publisher, inbox)
        detour.proxy.cut()
        gc.collect()
        await inbox.up(2)
        gc.collect()
        await eventually(lambda: answers(publisher))
        await received_in_each_lane(publisher, inbox)


async def test_what_a_worker_had_prefetched_when_its_connection_went_is_done_once(
    database: str, detour: Detour, broker_url: str
) -> None:
    """Taskiq-aio-pika #46: acknowledging after a reconnect fails, and the work is brought a second time."""
    started, go_on = asyncio.Event(), asyncio.Event()

    @on("webhook.plain")
    async def wait(message: Message, ctx: Context) -> None:
        started.set()
        await go_on.wait()
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with (
        system(database, broker_url, broker_lease_seconds=600.0) as one,
        one.working(registry(wait), rabbitmq_url=detour.secret, consumer_concurrency=4),
    ):
        ids = await one.accept_many(40, "webhook.plain")
        await started.wait()
        reconnects, dropped = reconnected(), counted("broker_acks_dropped_total", service="worker")
        detour.proxy.cut()
        await poll(lambda: reconnected() > reconnects, within=LONG)
        go_on.set()
        await one.finished()
        assert counted("broker_acks_dropped_total", service="worker") > dropped
        await one.done_once(ids)


def reconnected() -> float:
    return counted("broker_reconnects_total", service="worker", link="consume")
