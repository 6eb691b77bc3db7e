"""Working with RabbitMQ: it makes things quick while it is well, and loses and doubles nothing when it is not."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import aio_pika
import pytest
from pydantic import SecretStr

from libs.common.bus.link import BrokerOptions
from libs.common.bus.packing import encode
from libs.common.bus.publisher import BrokerPublisher
from libs.common.contracts.topology import Lane, dead_letter_queue, queue_name, work_key
from libs.common.outbox.circuit import State
from services.worker.sdk import Context, Message, on
from tests.integration.protocol import (
    CONSUMER,
    LONG,
    System,
    Worker,
    effect,
    registry,
    system,
    trusted,
)
from tests.integration.senders import Traffic
from tests.servers.ports import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

KEY = work_key(CONSUMER, Lane.DEFAULT)


@on("webhook.plain")
async def keep(message: Message, ctx: Context) -> None:
    await asyncio.sleep(0.002)
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("webhook.shared", together=20)
async def share(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("webhook.chain")
async def begin_chain(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)
        await ctx.emit("test.end", shop=str(message.id))


@on("test.end")
async def end_chain(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message, message.shop)


ALL = registry(keep, share, begin_chain, end_chain)


@pytest.fixture
async def one(database: str, broker_url: str) -> AsyncIterator[System]:
    async with system(database, broker_url) as ready:
        yield ready


async def routes(one: System, ids: list[UUID]) -> set[str]:
    history = await one.history()
    return {history[identifier]["route"] for identifier in ids}


async def test_a_well_broker_brings_all_messages(one: System) -> None:
    async with one.working(ALL), one.working(ALL):
        ids = await one.accept_many(200, "webhook.plain")
        await one.finished()
    await one.done_once(ids)
    assert await routes(one, ids) == {"rabbitmq"}


async def test_copies_on_both_routes_have_one_effect(one: System) -> None:
    """Every message is published a second time by hand, and every lease taken away."""
    calls, seen = Counter[UUID](), list[Message]()

    @on("webhook.plain")
    async def slow(message: Message, ctx: Context) -> None:
        calls[message.id] += 1
        seen.append(message)
        await asyncio.sleep(0.02)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    publisher = BrokerPublisher(BrokerOptions.of(one.settings, "test"))
    await publisher.open()
    async with one.working(registry(slow)), one.working(registry(slow)):
        ids = await one.accept_many(300, "webhook.plain")
        await poll(lambda: len(calls) >= 20)
        await one.free_all()
        for message in list(seen):
            await publisher.publish(KEY, encode([message]))
        await one.finished()
        for start in range(0, 300, 100):
            await publisher.publish(KEY, encode(seen[start : start + 100]))
        last = await one.accept("webhook.plain")
        await one.finished()
    await publisher.close()
    assert max(calls.values()) > 1  # else nothing was shown
    await one.done_once([*ids, last])


async def test_a_worker_that_rabbitmq_does_not_reach_works_all_the_same(one: System) -> None:
    """Wolverine GH-3590: here a producer leases to RabbitMQ, and the worker that is cut off waits for nobody."""
    nowhere = SecretStr(f"amqp://127.0.0.1:{free_port()}")
    async with one.working(ALL, await_broker=False, rabbitmq_url=nowhere) as alone:
        ids = await one.accept_many(50, "webhook.plain")
        await one.finished()
        assert "RabbitMQ" in str(alone.consumer.state())
    assert await routes(one, ids) == {"postgres"}
    async with one.working(ALL):  # finds the copies in its queue
        late = await one.accept("webhook.plain")
        await one.finished()
        await poll(lambda: queue_is_empty(one))
    await one.done_once([*ids, late])
    assert await routes(one, [late]) == {"rabbitmq"}


async def queue_is_empty(one: System) -> bool:
    assert one.producer.broker is not None
    return await one.producer.broker.publisher.depth(queue_name(CONSUMER, Lane.DEFAULT)) == 0


async def test_what_a_dead_worker_had_in_hand_is_done_by_another(one: System) -> None:
    started = asyncio.Event()

    @on("webhook.plain")
    async def hang(message: Message, ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    async with one.working(registry(hang), consumer_lease_seconds=1.0) as victim:
        ids = await one.accept_many(40, "webhook.plain")
        await started.wait()
        await victim.crash()
    async with one.working(ALL):
        await one.finished()
    await one.done_once(ids)


async def test_what_rabbitmq_gave_up_is_claimed_from_postgres_at_once(database: str, broker_url: str) -> None:
    """It was delivered too often; its lease would end in ten minutes only."""
    async with system(database, broker_url, broker_lease_seconds=600.0) as one:
        ids = await one.accept_many(20, "webhook.plain")
        async with await aio_pika.connect(broker_url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(queue_name(CONSUMER, Lane.DEFAULT))
            while packet := await queue.get(fail=False, no_ack=True):
                message = aio_pika.Message(
                    packet.body, headers=packet.headers, content_type=packet.content_type
                )
                await channel.default_exchange.publish(message, dead_letter_queue(CONSUMER))
        async with one.working(ALL):
            await one.finished()
        await one.done_once(ids)


@pytest.mark.parametrize("outage", ["restart", "freeze"])
async def test_an_outage_of_postgres_under_rabbitmqs_work_uses_up_no_attempt_and_doubles_nothing(
    database: str, broker_url: str, postgres: PostgresServer, outage: str
) -> None:
    quick = {"database_timeout_seconds": 1.0} if outage == "freeze" else {}  # which a busy machine may miss
    async with system(database, broker_url, broker_lease_seconds=4.0, **quick) as one:
        async with one.working(ALL), one.working(ALL):
            async with one.traffic("webhook.plain", "webhook.shared", "webhook.chain") as traffic:
                await traffic.more()
                await asyncio.to_thread(getattr(postgres, outage))
                if outage == "freeze":
                    await poll(lambda: traffic.refused > 3, within=LONG)
                    await asyncio.to_thread(postgres.heal)
                await traffic.more()
            await one.finished()
        await judged(one, traffic)


# outages of RabbitMQ, with traffic going on


async def kill(rabbit: RabbitNode, one: System) -> None:
    await asyncio.to_thread(rabbit.kill)


async def freeze(rabbit: RabbitNode, one: System) -> None:
    rabbit.freeze()


async def alarm(rabbit: RabbitNode, one: System) -> None:
    await asyncio.to_thread(rabbit.raise_memory_alarm)


async def wipe(rabbit: RabbitNode, one: System) -> None:
    await asyncio.to_thread(rabbit.wipe)


async def delete_queue(rabbit: RabbitNode, one: System) -> None:
    await asyncio.to_thread(rabbit.delete_queue, queue_name(CONSUMER, Lane.DEFAULT), vhost(one))


def vhost(one: System) -> str:
    assert one.settings.rabbitmq_url is not None
    return one.settings.rabbitmq_url.get_secret_value().rpartition("/")[2]


async def heal(rabbit: RabbitNode, one: System) -> None:
    await asyncio.to_thread(rabbit.heal)
    if vhost(one) not in rabbit.vhosts():  # it was wiped, and an operator sets it up again
        await asyncio.to_thread(rabbit.make_vhost, vhost(one))


async def judged(one: System, traffic: Traffic) -> None:
    """Fails unless all that was accepted, and all that it emitted, was done once and in one attempt."""
    history = await one.history()
    emitted = {identifier for identifier, row in history.items() if row["source"] == "worker"}
    chains = [
        str(identifier) for key, identifier in traffic.accepted.items() if key.startswith("webhook.chain")
    ]
    await one.done_once(emitted | set(traffic.accepted.values()))
    assert Counter(note for note in await one.notes() if note) == Counter(chains)


def hurried(one: System, *workers: Worker) -> None:
    """The way back over the ramp is another test's subject."""
    for producer in (one.producer, *(worker.producer for worker in workers)):
        assert producer.broker is not None
        producer.broker.circuit._ramp_seconds = 0.5


Outage = Callable[[RabbitNode, System], Awaitable[None]]


@pytest.mark.parametrize("outage", [kill, freeze, alarm, wipe, delete_queue])
async def test_an_outage_of_rabbitmq_loses_nothing_doubles_nothing_and_ends_by_itself(
    database: str, broker_url: str, rabbit: RabbitNode, outage: Outage
) -> None:
    quick = {"broker_confirm_seconds": 1.0, "broker_connect_seconds": 2.0, "broker_lease_seconds": 4.0}
    async with (
        system(database, broker_url, **quick) as one,
        one.working(ALL) as first,
        one.working(ALL) as second,
    ):
        hurried(one, first, second)
        assert one.producer.broker is not None
        circuit = one.producer.broker.circuit
        async with one.traffic("webhook.plain", "webhook.shared", "webhook.chain") as traffic:
            await traffic.more()
            await outage(rabbit, one)
            await poll(lambda: circuit.state is State.OPEN, within=LONG)
            await traffic.more()
            await heal(rabbit, one)
            await asyncio.gather(trusted(one.producer), first.up(), second.up())
            await traffic.more()
        await one.finished()
        assert traffic.refused == 0
        await asyncio.gather(
            trusted(one.producer), first.up(), second.up()
        )  # a late confirm may have cost trust again
        last = await one.accept_many(20, "webhook.plain")
        await one.finished()
        traffic.accepted |= {f"last {identifier}": identifier for identifier in last}
        assert await routes(one, last) == {"rabbitmq"}
        await judged(one, traffic)
