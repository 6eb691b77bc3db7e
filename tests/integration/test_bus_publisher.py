"""Publishing to a RabbitMQ that is well, and the errors that are answers."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator

import aio_pika
import pytest

from libs.common.bus import metrics
from libs.common.bus.errors import (
    BusError,
    ChannelLost,
    ConnectionLost,
    PublishFailure,
    PublishNacked,
    PublishReturned,
)
from libs.common.bus.packing import encode
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.topology import (
    BROKER_DELIVERY_LIMIT,
    EXCHANGE,
    Lane,
    dead_letter_queue,
    queue_name,
    work_key,
)
from tests.integration.bus_kit import DESTINATION, KEY, consuming, message, options, publishing, vhost_of
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

QUEUE = queue_name(DESTINATION, Lane.DEFAULT)


@pytest.fixture
async def publisher(broker_url: str) -> AsyncIterator[BrokerPublisher]:
    async with publishing(broker_url) as publisher:
        yield publisher


@pytest.fixture
async def raw(broker_url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """A channel of the test's own, to look and to meddle."""
    async with await aio_pika.connect(broker_url) as connection:
        yield await connection.channel()


async def test_what_was_published_arrives_whole(publisher: BrokerPublisher, broker_url: str) -> None:
    single, pack = [message(b"\x00raw")], [message(b"one"), message(b"two")]
    await publisher.publish(KEY, encode(single))
    await publisher.publish(KEY, encode(pack))
    async with consuming(broker_url) as inbox:
        await inbox.has(2)
    assert inbox.messages == single + pack


async def test_a_packet_is_persistent_and_readable_from_outside(
    publisher: BrokerPublisher, raw: aio_pika.abc.AbstractChannel
) -> None:
    sent = message(b'{"id": 1}')
    await publisher.publish(KEY, encode([sent]))
    got = await (await raw.get_queue(QUEUE)).get()
    assert got.body == sent.body
    assert got.content_type == "application/json"
    assert got.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
    assert got.headers["cloudEvents:id"] == str(sent.id)


async def test_the_topology_has_limits_and_a_place_for_dead_letters(
    publisher: BrokerPublisher, rabbit: RabbitNode, broker_url: str
) -> None:
    vhost = vhost_of(broker_url)
    for lane in Lane:
        queue = rabbit.queue(queue_name(DESTINATION, lane), vhost)
        assert "rabbit_quorum_queue" in queue
        assert re.search(rf'"x-delivery-limit">>,\w+,{BROKER_DELIVERY_LIMIT}\b', queue)
        assert f'"x-dead-letter-routing-key">>,longstr,<<"{dead_letter_queue(DESTINATION)}">>' in queue
    assert "rabbit_quorum_queue" in rabbit.queue(dead_letter_queue(DESTINATION), vhost)


async def test_an_unroutable_packet_is_an_error_and_hurts_no_other(publisher: BrokerPublisher) -> None:
    """Aio-pika returns what no queue wanted as a result, as if it were a success."""
    returned = metrics.RETURNED.labels("test")._value.get()
    for _ in range(2):
        with pytest.raises(PublishReturned) as caught:
            await publisher.publish("work.nobody.default", encode([message()]))
        assert caught.value.cause is PublishFailure.RETURNED
    assert metrics.RETURNED.labels("test")._value.get() == returned + 2
    await publisher.publish(KEY, encode([message()]))
    await publisher.publish("work.nobody.default", encode([message()]), mandatory=False)


async def test_only_the_unroutable_ones_of_many_in_flight_fail(publisher: BrokerPublisher) -> None:
    """Aio-pika finds out by the message id which publish a return belongs to."""
    keys = [KEY, "work.nobody.default"] * 50
    outcomes = await asyncio.gather(
        *(publisher.publish(key, encode([message()])) for key in keys), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [type(None), PublishReturned] * 50
    assert await publisher.depth(QUEUE) == 50


async def test_a_refused_packet_is_an_error(
    publisher: BrokerPublisher, raw: aio_pika.abc.AbstractChannel
) -> None:
    tiny = await raw.declare_queue("tiny", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    await tiny.bind(EXCHANGE, "tiny")
    nacked = metrics.NACKED.labels("test")._value.get()
    sending = [publisher.publish("tiny", encode([message()])) for _ in range(5)]
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    refused = [type(one) for one in outcomes if one is not None]
    assert refused
    assert set(refused) == {PublishNacked}
    assert metrics.NACKED.labels("test")._value.get() == nacked + len(refused)
    await publisher.publish(KEY, encode([message()]))


async def test_a_deleted_queue_is_an_error_until_a_probe_declares_it_again(
    publisher: BrokerPublisher, rabbit: RabbitNode, broker_url: str
) -> None:
    await publisher.publish(KEY, encode([message()]))
    await asyncio.to_thread(rabbit.delete_queue, QUEUE, vhost_of(broker_url))
    with pytest.raises(PublishReturned):
        await publisher.publish(KEY, encode([message()]))
    await publisher.probe()
    await publisher.publish(KEY, encode([message()]))
    assert await publisher.depth(QUEUE) == 1


async def test_a_deleted_exchange_ends_the_connection_and_a_probe_brings_both_back(
    publisher: BrokerPublisher, raw: aio_pika.abc.AbstractChannel
) -> None:
    causes: list[str] = []
    publisher.on_lost = causes.append
    await raw.exchange_delete(EXCHANGE)
    with pytest.raises(ChannelLost) as caught:
        await publisher.publish(KEY, encode([message()]))
    assert caught.value.cause is PublishFailure.CLOSED
    await poll(lambda: causes == ["connection"] and not publisher.connected)
    await publisher.probe()
    await publisher.publish(KEY, encode([message()]))


async def test_depth_counts_what_is_ready(publisher: BrokerPublisher) -> None:
    assert await publisher.depth(QUEUE) == 0
    for _ in range(3):
        await publisher.publish(KEY, encode([message(), message()]))
    assert await publisher.depth(QUEUE) == 3


async def test_asking_for_a_missing_queue_hurts_neither_publishing_nor_the_next_question(
    publisher: BrokerPublisher,
) -> None:
    causes: list[str] = []
    publisher.on_lost = causes.append
    for _ in range(3):
        with pytest.raises(ChannelLost):
            await publisher.depth("missing")
        await publisher.publish(KEY, encode([message()]))
    assert await publisher.depth(QUEUE) == 3
    await publisher.probe()
    assert causes == []


async def test_a_probe_connects_by_itself_and_leaves_nothing_behind(
    broker_url: str, rabbit: RabbitNode
) -> None:
    publisher = BrokerPublisher(options(broker_url), [DESTINATION])
    assert not publisher.connected
    for _ in range(3):
        await publisher.probe()
    assert publisher.connected
    await publisher.close()
    assert not publisher.connected
    queues = await asyncio.to_thread(rabbit.queues, vhost_of(broker_url))
    assert not any("probe" in queue for queue in queues)


async def test_probes_and_publishes_and_questions_may_run_at_once(publisher: BrokerPublisher) -> None:
    await asyncio.gather(
        *(publisher.probe() for _ in range(10)),
        *(publisher.publish(KEY, encode([message()])) for _ in range(50)),
        *(publisher.depth(QUEUE) for _ in range(10)),
    )
    assert await publisher.depth(QUEUE) == 50


async def test_without_a_connection_everything_says_so(broker_url: str) -> None:
    """Aio-pika #556, #636, FastStream #1579, Kombu #902, Celery #4296: publishing waited for a connection for ever."""
    publisher = BrokerPublisher(options(broker_url), [DESTINATION])
    publisher.abort()
    await publisher.close()
    for asking in (publisher.publish(KEY, encode([message()])), publisher.depth(QUEUE)):
        with pytest.raises(ConnectionLost):
            await asking
    assert not publisher.blocked


async def test_a_closed_connection_does_not_call_its_owner(broker_url: str) -> None:
    causes: list[str] = []
    for ending in ("abort", "close"):
        publisher = BrokerPublisher(options(broker_url), [DESTINATION], on_lost=causes.append)
        await publisher.open()
        if ending == "abort":
            publisher.abort()
        else:
            await publisher.close()
    publisher = BrokerPublisher(options(broker_url), [DESTINATION])
    await publisher.probe()  # by now the others are gone for good
    publisher.abort()
    assert causes == []


async def test_a_withdrawn_permission_is_an_error_until_it_is_given_back(
    rabbit: RabbitNode, broker_url: str
) -> None:
    vhost = vhost_of(broker_url)
    async with publishing(broker_url) as publisher:
        await publisher.publish(KEY, encode([message()]))
        await asyncio.to_thread(rabbit.forbid_writing, vhost)
        publisher.abort()  # RabbitMQ remembers for a while what a channel may do
        with pytest.raises(BusError) as caught:
            await publisher.probe()
        assert caught.value.cause is PublishFailure.CLOSED
        assert not publisher.connected
        await asyncio.to_thread(rabbit.permit, vhost)
        await publisher.probe()
        await publisher.publish(KEY, encode([message()]))


async def test_a_wrong_password_is_an_error_and_is_told_to_nobody(
    rabbit: RabbitNode, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher = BrokerPublisher(options(f"amqp://tests:hunter2@127.0.0.1:{rabbit.port}/"), [DESTINATION])
    with pytest.raises(ConnectionLost, match="ACCESS_REFUSED") as caught:
        await publisher.probe()
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    assert "hunter2" not in "".join(capsys.readouterr())


async def test_the_metrics_follow(broker_url: str) -> None:
    connected = metrics.CONNECTED.labels("test", "publish")
    reconnects = metrics.RECONNECTS.labels("test", "publish")
    async with publishing(broker_url) as publisher:
        assert connected._value.get() == 1
        before = reconnects._value.get()
        publisher.abort()
        assert connected._value.get() == 0
        await publisher.open()
        assert reconnects._value.get() == before + 1
        confirmed = metrics.CONFIRM_SECONDS.labels("test")._sum.get()
        await publisher.publish(work_key(DESTINATION, Lane.BULK), encode([message()]))
        assert metrics.CONFIRM_SECONDS.labels("test")._sum.get() > confirmed
