"""Consuming from a RabbitMQ that is well."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import aio_pika
import pytest

from libs.common.bus import metrics
from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.deliveries import IncomingWork
from libs.common.bus.errors import ConnectionLost
from libs.common.bus.packing import encode
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.topology import EXCHANGE, Lane, queue_name, work_key
from tests.integration.bus_kit import DESTINATION, KEY, consuming, message, options, other_tasks, publishing
from tests.waiting import poll

QUEUE = queue_name(DESTINATION, Lane.DEFAULT)


@pytest.fixture
async def publisher(broker_url: str) -> AsyncIterator[BrokerPublisher]:
    async with publishing(broker_url) as publisher:
        yield publisher


async def publish_raw(url: str, body: bytes, **properties: object) -> None:
    """What somebody else, or an accident, might publish."""
    async with await aio_pika.connect(url) as connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(body, **properties), KEY)  # type: ignore[arg-type]


async def test_each_lane_brings_its_own_work(publisher: BrokerPublisher, broker_url: str) -> None:
    sent = {lane: message(lane.encode()) for lane in Lane}
    async with consuming(broker_url) as inbox:
        for lane, one in sent.items():
            await publisher.publish(work_key(DESTINATION, lane), encode([one]))
        await inbox.has(len(Lane))
    assert {work.lane: work.messages[0] for work in inbox.works} == sent
    assert not any(work.redelivered or work.delivery_count or work.dead_lettered for work in inbox.works)


async def test_what_was_acknowledged_does_not_come_back(publisher: BrokerPublisher, broker_url: str) -> None:
    async with consuming(broker_url) as inbox:
        for _ in range(30):
            await publisher.publish(KEY, encode([message()]))
        await inbox.has(30)
        await inbox.consumer.close()
    async with consuming(broker_url) as second:
        await publisher.publish(KEY, encode([last := message()]))
        await second.has(1)
        assert second.messages == [last]


async def test_what_was_not_acknowledged_comes_back_and_says_so(
    publisher: BrokerPublisher, broker_url: str
) -> None:
    await publisher.publish(KEY, encode([message()]))
    for count in range(3):
        async with consuming(broker_url, hold=True) as inbox:
            await inbox.has(1)
        assert inbox.works[0].redelivered is (count > 0)
        assert inbox.works[0].delivery_count == count


async def test_no_lane_gives_out_more_than_its_prefetch(publisher: BrokerPublisher, broker_url: str) -> None:
    for _ in range(5):
        await publisher.publish(KEY, encode([message()]))
        await publisher.publish(work_key(DESTINATION, Lane.CRITICAL), encode([message()]))
    prefetch = {Lane.DEFAULT: 2, Lane.CRITICAL: 4}
    async with consuming(broker_url, hold=True, prefetch=prefetch) as inbox:
        await inbox.has(6)
        assert await publisher.depth(QUEUE) == 3
        assert await publisher.depth(queue_name(DESTINATION, Lane.CRITICAL)) == 1
        next(work for work in inbox.works if work.lane is Lane.DEFAULT).ack()
        await inbox.has(7)


async def test_acknowledging_twice_is_the_same_as_once(publisher: BrokerPublisher, broker_url: str) -> None:
    async with consuming(broker_url, hold=True) as inbox:
        for expected in (1, 2):
            await publisher.publish(KEY, encode([message()]))
            await inbox.has(expected)
            inbox.works[-1].ack()
            inbox.works[-1].ack()
        await inbox.consumer.check()
        assert inbox.ups == 1


async def test_a_dead_letter_is_brought_with_the_lane_it_came_from(
    publisher: BrokerPublisher, broker_url: str
) -> None:
    sent = message()
    packet = encode([sent])
    async with await aio_pika.connect(broker_url) as connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)
        expiring = aio_pika.Message(
            packet.body, headers=dict(packet.headers), content_type=packet.content_type, expiration=0.001
        )
        await exchange.publish(expiring, work_key(DESTINATION, Lane.BULK))
    await poll(lambda: publisher.depth("shopbus.worker.dead"))
    async with consuming(broker_url) as inbox:
        await inbox.has(1)
    work = inbox.works[0]
    assert work.dead_lettered
    assert work.lane is Lane.BULK
    assert work.messages == [sent]


async def test_what_kills_its_consumer_again_and_again_becomes_a_dead_letter(
    publisher: BrokerPublisher, broker_url: str
) -> None:
    """RabbitMQ's own limit, at its most usual: a receiver that fails on one packet, for ever."""
    poison = message(b"poison")
    dead: list[IncomingWork] = []

    def deliver(work: IncomingWork) -> None:
        if not work.dead_lettered:
            raise ZeroDivisionError
        dead.append(work)
        work.ack()

    await publisher.publish(KEY, encode([poison]))
    async with asyncio.timeout(50):
        while not dead:  # a new consumer each time, for its waits between attempts grow
            async with consuming(broker_url, deliver=deliver) as inbox:
                await poll(lambda: inbox.downs or dead)
    assert dead[0].messages == [poison]


async def test_an_unreadable_packet_is_dropped_and_counted_and_holds_up_nothing(
    publisher: BrokerPublisher, broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    invalid = metrics.INVALID_PACKETS.labels("test")._value.get()
    async with consuming(broker_url, prefetch={Lane.DEFAULT: 1}) as inbox:
        await publish_raw(broker_url, b"a customer's name")
        await publish_raw(broker_url, b"SBP1", content_type="application/vnd.shopbus.pack")
        await publish_raw(broker_url, b"", headers={"cloudEvents:specversion": "1.0", "cloudEvents:id": 7})
        await publisher.publish(KEY, encode([sent := message()]))
        await inbox.has(1)
        assert inbox.messages == [sent]
        assert inbox.ups == 1
    assert metrics.INVALID_PACKETS.labels("test")._value.get() == invalid + 3
    assert "customer" not in capsys.readouterr().out


async def test_a_receiver_that_fails_gets_the_work_again(publisher: BrokerPublisher, broker_url: str) -> None:
    seen: list[IncomingWork] = []

    def fail_first(work: IncomingWork) -> None:
        seen.append(work)
        if len(seen) == 1:
            raise ZeroDivisionError
        work.ack()

    async with consuming(broker_url, deliver=fail_first) as inbox:
        await publisher.publish(KEY, encode([message()]))
        await poll(lambda: len(seen) == 2)
        assert seen[1].redelivered
        await inbox.up(2)


async def test_a_pause_takes_no_more_work_and_still_acknowledges(
    publisher: BrokerPublisher, broker_url: str
) -> None:
    async with consuming(broker_url, hold=True) as inbox:
        await publisher.publish(KEY, encode([message()]))
        await inbox.has(1)
        await inbox.consumer.pause()
        await publisher.publish(KEY, encode([later := message()]))
        inbox.works[0].ack()
        await inbox.consumer.close()
        await inbox.down()
        assert len(inbox.works) == 1
    async with consuming(broker_url) as second:
        await second.has(1)
        assert second.messages == [later]


async def test_closing_sends_every_acknowledgement_first(publisher: BrokerPublisher, broker_url: str) -> None:
    async with consuming(broker_url, hold=True, prefetch={Lane.DEFAULT: 200}) as inbox:
        await asyncio.gather(*(publisher.publish(KEY, encode([message()])) for _ in range(200)))
        await inbox.has(200)
        for work in inbox.works:
            work.ack()
        await inbox.consumer.close()
        await inbox.down()
    assert await publisher.depth(QUEUE) == 0


async def test_run_ends_after_close_and_leaves_nothing(broker_url: str) -> None:
    before = other_tasks()
    consumer = BrokerConsumer(options(broker_url), DESTINATION, lambda _: None, {Lane.DEFAULT: 1})
    running = asyncio.create_task(consumer.run())
    await poll(lambda: consumer.connected)
    await consumer.close()
    await asyncio.wait_for(running, timeout=10)
    assert not consumer.connected
    await poll(lambda: other_tasks() == before)


async def test_run_cancelled_leaves_nothing(broker_url: str) -> None:
    before = other_tasks()
    consumer = BrokerConsumer(options(broker_url), DESTINATION, lambda _: None, {Lane.DEFAULT: 1})
    running = asyncio.create_task(consumer.run())
    await poll(lambda: consumer.connected)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not consumer.connected
    await poll(lambda: other_tasks() == before)


async def test_closing_what_never_ran_or_already_ended_is_harmless(broker_url: str) -> None:
    consumer = BrokerConsumer(options(broker_url), DESTINATION, lambda _: None, {Lane.DEFAULT: 1})
    with pytest.raises(ConnectionLost):
        await consumer.check()
    await consumer.pause()
    await consumer.close()
    await consumer.run()
    await consumer.close()


async def test_consumers_share_the_work(publisher: BrokerPublisher, broker_url: str) -> None:
    one_each = {Lane.DEFAULT: 1}
    async with (
        consuming(broker_url, prefetch=one_each, hold=True) as first,
        consuming(broker_url, prefetch=one_each, hold=True) as second,
    ):
        await publisher.publish(KEY, encode([message(uuid.uuid4().bytes)]))
        await publisher.publish(KEY, encode([message(uuid.uuid4().bytes)]))
        await first.has(1)
        await second.has(1)
    assert first.messages != second.messages


async def test_the_metrics_follow(broker_url: str) -> None:
    connected = metrics.CONNECTED.labels("test", "consume")
    async with consuming(broker_url):
        assert connected._value.get() == 1
    assert connected._value.get() == 0
