"""A consumer whose RabbitMQ dies, freezes, forgets or throws it out comes back by itself.

Killed within a moment of making its queues, as here, RabbitMQ may bring the youngest back without a leader: hence
the impatience with silent queues.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.common.bus import metrics
from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.errors import BusError
from libs.common.bus.packing import encode
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.topology import Lane, queue_name, work_key
from libs.common.errors import BrokerAway
from tests.integration.bus_kit import (
    DESTINATION,
    KEY,
    Inbox,
    consuming,
    eventually,
    freeze,
    message,
    options,
    other_tasks,
    publishing,
    vhost_of,
)
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

QUEUE = queue_name(DESTINATION, Lane.DEFAULT)


@pytest.fixture(autouse=True)
async def _healed(rabbit: RabbitNode) -> AsyncIterator[None]:
    """Nothing that a test's consumer waits for at its end may still be frozen."""
    yield
    await asyncio.to_thread(rabbit.heal)


async def sent_and_received(url: str, inbox: Inbox, lane: Lane = Lane.DEFAULT) -> None:
    """A message published now reaches the consumer."""
    sent = message()

    async def publish() -> bool:
        publisher = BrokerPublisher(options(url), [DESTINATION])
        try:
            await publisher.open()
            await publisher.publish(work_key(DESTINATION, lane), encode([sent]))
        except BrokerAway:
            return False
        finally:
            publisher.abort()
        return True

    await eventually(publish)
    await poll(lambda: sent in inbox.messages, within=30)


async def test_a_consumer_consumes_again_after_an_orderly_restart(
    rabbit: RabbitNode, broker_url: str
) -> None:
    async with consuming(broker_url) as inbox:
        await asyncio.to_thread(rabbit.stop)
        await inbox.down()
        await asyncio.to_thread(rabbit.start)
        await inbox.up(2)
        await sent_and_received(broker_url, inbox)


async def test_a_consumer_consumes_again_after_sigkill(rabbit: RabbitNode, broker_url: str) -> None:
    reconnects = metrics.RECONNECTS.labels("test", "consume")._value.get()
    async with consuming(broker_url, connect_seconds=2, silence_seconds=1) as inbox:
        await asyncio.to_thread(rabbit.kill)
        await inbox.down()
        assert not inbox.consumer.connected
        assert metrics.CONNECTED.labels("test", "consume")._value.get() == 0
        await asyncio.to_thread(rabbit.start)
        await inbox.up(2)
        assert metrics.RECONNECTS.labels("test", "consume")._value.get() == reconnects + 1
        await sent_and_received(broker_url, inbox)


async def test_a_queue_that_answers_nobody_is_made_anew_after_a_while(
    rabbit: RabbitNode, broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As RabbitMQ 3.10 brings back its youngest queue when killed at the wrong moment: without a leader."""
    vhost, bulk = vhost_of(broker_url), queue_name(DESTINATION, Lane.BULK)
    async with consuming(broker_url, connect_seconds=2, silence_seconds=1) as inbox:
        await asyncio.to_thread(rabbit.suspend_queue, bulk, vhost)
        await asyncio.to_thread(rabbit.close_connections)
        await inbox.up(2)
        await sent_and_received(broker_url, inbox, Lane.BULK)
        await sent_and_received(broker_url, inbox)
    assert f"queue={bulk}" in capsys.readouterr().out


async def test_a_consumer_declares_the_topology_again_on_a_wiped_broker(rabbit: RabbitNode) -> None:
    async with consuming(rabbit.url) as inbox:
        await asyncio.to_thread(rabbit.wipe)
        await inbox.down()
        await asyncio.to_thread(rabbit.start)
        await inbox.up(2)
        assert QUEUE in await asyncio.to_thread(rabbit.queues)
        await sent_and_received(rabbit.url, inbox)


async def test_a_consumer_whose_queue_was_deleted_comes_back(rabbit: RabbitNode, broker_url: str) -> None:
    """Aio-pika #334: RabbitMQ cancelled the consumer, and it stayed cancelled."""
    async with consuming(broker_url) as inbox:
        await asyncio.to_thread(rabbit.delete_queue, QUEUE, vhost_of(broker_url))
        await inbox.up(2)
        await sent_and_received(broker_url, inbox)


async def test_a_consumer_thrown_out_by_an_operator_comes_back(rabbit: RabbitNode, broker_url: str) -> None:
    """FastStream #2758: after maintenance of a node its consumers were gone."""
    async with consuming(broker_url) as inbox:
        await asyncio.to_thread(rabbit.close_connections)
        await inbox.up(2)
        await sent_and_received(broker_url, inbox)


async def test_a_frozen_broker_is_noticed_by_heartbeats_and_used_again(
    rabbit: RabbitNode, broker_url: str
) -> None:
    async with consuming(broker_url, heartbeat_seconds=1, connect_seconds=1) as inbox:
        await freeze(rabbit)
        await inbox.down()
        await asyncio.to_thread(rabbit.thaw)
        await inbox.up(2)
        await sent_and_received(broker_url, inbox)


async def test_a_check_notices_a_frozen_broker_before_heartbeats_do(
    rabbit: RabbitNode, broker_url: str
) -> None:
    async with consuming(broker_url) as inbox:
        await inbox.consumer.check()
        await freeze(rabbit)
        with pytest.raises(BusError):
            await inbox.consumer.check(0.5)
        await inbox.down()
        await asyncio.to_thread(rabbit.thaw)
        await inbox.up(2)
        await inbox.consumer.check()


async def test_a_consumer_asks_whether_a_connection_without_work_lives(
    rabbit: RabbitNode, broker_url: str
) -> None:
    """Its heartbeats would tell ten minutes later."""
    async with consuming(broker_url, check_seconds=0.5) as inbox:
        await freeze(rabbit)
        await inbox.down()
        await asyncio.to_thread(rabbit.thaw)
        await inbox.up(2)
        await sent_and_received(broker_url, inbox)


async def test_a_check_notices_a_missing_queue(rabbit: RabbitNode, broker_url: str) -> None:
    async with consuming(broker_url) as inbox:
        await asyncio.to_thread(
            rabbit.delete_queue, queue_name(DESTINATION, Lane.CRITICAL), vhost_of(broker_url)
        )
        await inbox.up(2)
        await inbox.consumer.check()


async def test_a_frozen_broker_holds_up_neither_pause_nor_close(rabbit: RabbitNode, broker_url: str) -> None:
    before = other_tasks()
    async with consuming(broker_url, hold=True, connect_seconds=5) as inbox:
        await sent_and_received(broker_url, inbox)
        inbox.consumer._session._options = options(broker_url, connect_seconds=0.3)  # type: ignore[union-attr]
        await freeze(rabbit)
        inbox.works[0].ack()
        await inbox.consumer.close()
        await inbox.down()
        await poll(lambda: len(other_tasks() - before) <= 1)  # RabbitMQ is still frozen


async def test_an_acknowledgement_after_a_reconnect_is_harmless(rabbit: RabbitNode, broker_url: str) -> None:
    """Taskiq-aio-pika #46: acknowledging after a reconnect was an error."""
    dropped = metrics.ACKS_DROPPED.labels("test")._value.get()
    async with consuming(broker_url, hold=True, connect_seconds=2, silence_seconds=1) as inbox:
        await sent_and_received(broker_url, inbox)
        early = inbox.works[0]
        await asyncio.to_thread(rabbit.kill)
        await inbox.down()
        await asyncio.to_thread(rabbit.start)
        await inbox.up(2)
        await inbox.has(2)
        early.ack()
        assert metrics.ACKS_DROPPED.labels("test")._value.get() == dropped + 1
        again = inbox.works[1]
        assert again.redelivered
        assert again.messages == early.messages
        again.ack()
        await inbox.consumer.check()
        assert inbox.ups == 2
    async with publishing(broker_url) as publisher:
        await eventually(lambda: _empty(publisher))


async def _empty(publisher: BrokerPublisher) -> bool:
    return await publisher.depth(QUEUE) == 0


async def test_an_alarm_does_not_stop_consuming(rabbit: RabbitNode, broker_url: str) -> None:
    """A connection that only consumes is not blocked by an alarm, and can be opened during one."""
    async with publishing(broker_url) as publisher:
        await publisher.publish(KEY, encode([message()]))
    await asyncio.to_thread(rabbit.raise_memory_alarm)
    async with consuming(broker_url) as inbox:
        await inbox.has(1)


async def test_a_consumer_without_permission_goes_on_trying(rabbit: RabbitNode, broker_url: str) -> None:
    vhost = vhost_of(broker_url)
    async with consuming(broker_url) as inbox:
        await asyncio.to_thread(rabbit.shut_out, vhost)
        await inbox.down()
        await asyncio.to_thread(rabbit.permit, vhost)
        await inbox.up(2)
        await sent_and_received(broker_url, inbox)


async def test_a_silent_peer_does_not_wedge_a_consumer() -> None:
    met: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(writer)
        await reader.read()
        writer.close()

    before = other_tasks()
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        url = f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        consumer = BrokerConsumer(
            options(url, connect_seconds=0.1), DESTINATION, lambda _: None, {Lane.DEFAULT: 1}
        )
        running = asyncio.create_task(consumer.run())
        await poll(lambda: len(met) >= 3)  # it goes on trying
        assert not consumer.connected
        await consumer.close()
        await asyncio.wait_for(running, timeout=10)
    await poll(lambda: other_tasks() == before)
