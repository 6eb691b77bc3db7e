"""The producer's way over RabbitMQ: what it hands over it can take back, and it hands over no more than is good."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import aio_pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.packing import MAX_PACK_BYTES, MAX_PACK_MESSAGES
from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import Lane, queue_name
from libs.common.db import open_pool
from libs.common.outbox.broker_route import MOST_IN_FLIGHT, BrokerRoute, _fills_a_pack, _pack
from libs.common.outbox.circuit import State
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.lease_window import LeaseWindow
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from services.worker.sdk import Context, on
from tests.clocks import TurnedClock
from tests.integration.protocol import LONG, System, counted, effect, registry, system, trusted
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

QUEUE = queue_name("worker", Lane.DEFAULT)
HELD_BY_BROKER = "SELECT count(*) FROM webhooks.outbox WHERE holder LIKE 'broker:%' AND leased_until > now()"
FREE = "SELECT count(*) FROM webhooks.outbox WHERE holder IS NULL"


@on("webhook.#")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@pytest.fixture
async def one(database: str, broker_url: str) -> AsyncIterator[System]:
    """A producer whose leases do not end by themselves while a test runs."""
    async with system(database, broker_url, broker_lease_seconds=600.0) as ready:
        yield ready


def route(one: System) -> BrokerRoute:
    assert one.producer.broker is not None
    return one.producer.broker


async def ready_in_queue(one: System) -> int:
    return await route(one).publisher.depth(QUEUE)


async def test_what_is_accepted_is_leased_to_the_broker_and_published(one: System) -> None:
    ids = await one.accept_many(300)
    await asyncio.wait_for(route(one).drained(), LONG)
    assert await one.pool.fetchval(HELD_BY_BROKER) == 300
    packets = await poll(lambda: ready_in_queue(one))
    assert packets <= 50  # what gathered during a confirm travels together
    assert len(ids) == 300


@asynccontextmanager
async def unconfirmed(one: System) -> AsyncIterator[tuple[Producer, asyncio.Event]]:
    """A producer that takes note of no confirm before the event is set."""
    noted = asyncio.Event()

    async def wait() -> None:
        await noted.wait()

    faults = FaultPoints({"confirmed, not noted": wait})
    async with (
        open_pool(one.settings) as pool,
        open_producer(one.settings, schema="webhooks", pool=pool, faults=faults) as producer,
    ):
        await trusted(producer)
        yield producer, noted


async def packets_beside_a_probe(producer: Producer) -> int:
    """What is in the queue, after a message over the same channel has come through."""
    assert producer.broker is not None
    await producer.broker.publisher.probe()
    return await producer.broker.publisher.depth(QUEUE)


async def test_full_packs_do_not_wait_for_each_others_confirms_but_only_so_many(one: System) -> None:
    async with unconfirmed(one) as (producer, noted):
        ids = [r.id for r in await asyncio.gather(*(producer.accept(draft()) for _ in range(1_000)))]
        await poll(lambda: holds(producer, MOST_IN_FLIGHT), within=LONG)
        assert await packets_beside_a_probe(producer) == MOST_IN_FLIGHT
        noted.set()
        assert producer.broker is not None
        await asyncio.wait_for(producer.broker.drained(), LONG)
        assert await packets_beside_a_probe(producer) < 20
    async with one.working(registry(keep)):
        await one.finished()
    await one.done_once(ids)


async def test_what_does_not_fill_a_pack_gathers_until_the_last_confirm(one: System) -> None:
    async with unconfirmed(one) as (producer, noted):
        await producer.accept(draft())
        await poll(lambda: holds(producer, 1), within=LONG)
        for _ in range(5):
            await producer.accept(draft())
        assert await packets_beside_a_probe(producer) == 1
        noted.set()
        await poll(lambda: holds(producer, 2), within=LONG)
        assert producer.broker is not None
        await asyncio.wait_for(producer.broker.drained(), LONG)
        assert await packets_beside_a_probe(producer) == 2


async def holds(producer: Producer, packets: int) -> bool:
    assert producer.broker is not None
    return await producer.broker.publisher.depth(QUEUE) == packets


def draft() -> Draft:
    return Draft("webhook.test", b"{}")


async def test_when_the_circuit_opens_all_that_the_broker_holds_is_free_and_goes_another_way(
    one: System, database: str
) -> None:
    ids = await one.accept_many(50)
    await asyncio.wait_for(route(one).drained(), LONG)
    route(one).lost("timeout")
    await poll(lambda: one.pool.fetchval(FREE + " HAVING count(*) = 50"))
    alone = one.settings.model_copy(update={"rabbitmq_url": None})
    async with System(alone, one.pool, one.producer).working(registry(keep)):
        await one.finished()
    await one.done_once(ids)
    assert {row["route"] for row in (await one.history()).values()} == {"postgres"}


async def test_each_producer_frees_its_own_only(one: System) -> None:
    mine = await one.accept()
    async with (
        open_pool(one.settings) as pool,
        open_producer(one.settings, schema="webhooks", pool=pool) as other,
    ):
        await trusted(other)
        theirs = (await other.accept(Draft("webhook.test", b"{}"))).id
        route(one).lost("timeout")
        await poll(lambda: one.pool.fetchval(FREE))
        await asyncio.wait_for(route(one).drained(), LONG)
        freed, held = await one.row(mine), await one.row(theirs)
    assert freed is not None
    assert held is not None
    assert freed["holder"] is None
    assert held["holder"].startswith("broker:")


async def test_what_was_committed_while_the_circuit_opened_is_freed_too(one: System) -> None:
    """Leased when all was well, handed over when nothing was."""
    async with one.pool.acquire() as conn:
        async with conn.transaction():
            outgoing = await one.producer.put(conn, [Draft("webhook.test", b"{}")])
            route(one).lost("timeout")
            await asyncio.wait_for(route(one).drained(), LONG)
        assert await conn.fetchval(HELD_BY_BROKER) == 1
        one.producer.sent(outgoing)
        await poll(lambda: one.pool.fetchval(FREE))


async def test_while_the_circuit_is_open_nothing_is_leased(one: System) -> None:
    route(one).lost("timeout")
    ids = await one.accept_many(20)
    assert await one.pool.fetchval(FREE) == len(ids)


async def test_a_full_queue_leaves_new_work_in_postgres_until_it_has_emptied(
    database: str, broker_url: str
) -> None:
    async with system(database, broker_url, broker_lease_seconds=600.0, broker_high_water=20) as one:
        ids = [await one.accept() for _ in range(60)]
        assert await one.pool.fetchval(FREE) > 0
        assert (
            await one.pool.fetchval(HELD_BY_BROKER) <= 30
        )  # what is published while the depth is read is not in it
        async with one.working(registry(keep)):
            await one.finished()
            await poll(lambda: route(one).depths.shallow(QUEUE))
            ids.append(await one.accept())
            await one.finished()
        assert (await one.history())[ids[-1]]["route"] == "rabbitmq"
        await one.done_once(ids)


async def test_a_full_bulk_queue_does_not_keep_critical_work_from_the_broker(
    database: str, broker_url: str
) -> None:
    async with system(database, broker_url, broker_lease_seconds=600.0, broker_high_water=5) as one:
        for _ in range(20):
            await one.accept("pixel.frame")
        critical = await one.row(await one.accept("webhook.shop.redact"))
    assert critical is not None
    assert critical["holder"] is not None


async def test_a_producer_that_stops_while_the_broker_is_silent_leaves_nothing_waiting(
    one: System, rabbit: RabbitNode
) -> None:
    hasty = one.settings.model_copy(update={"broker_confirm_seconds": 0.5})
    async with open_pool(hasty) as pool, open_producer(hasty, schema="webhooks", pool=pool) as other:
        await trusted(other)
        rabbit.freeze()
        await asyncio.gather(*(other.accept(Draft("webhook.test", b"{}")) for _ in range(30)))
    assert await one.pool.fetchval(FREE) == 30


async def test_a_producer_that_dies_between_commit_and_publish_costs_the_time_of_a_lease(
    database: str, broker_url: str
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async with system(database, broker_url, broker_lease_seconds=2.0) as one:
        faults = FaultPoints({"committed, not published": never})
        hasty = one.settings.model_copy(update={"broker_confirm_seconds": 0.5})
        async with (
            one.working(registry(keep)),
            open_pool(one.settings) as pool,
            open_producer(hasty, schema="webhooks", pool=pool, faults=faults) as dying,
        ):
            await trusted(dying)
            ids = [(await dying.accept(Draft("webhook.test", b"{}"))).id for _ in range(5)]
            await one.finished()
        await one.done_once(ids)
        assert {row["route"] for row in (await one.history()).values()} == {"postgres"}


async def test_a_packet_nobody_can_read_is_dropped_and_its_message_comes_another_way(
    database: str, broker_url: str
) -> None:
    async with system(database, broker_url, broker_lease_seconds=2.0) as one:
        before = counted("broker_invalid_packets_total", service="worker")
        ids = await one.accept_many(3)
        async with await aio_pika.connect(broker_url) as connection:
            channel = await connection.channel()
            await (await channel.get_queue(QUEUE)).purge()
            await channel.default_exchange.publish(aio_pika.Message(b"garbage"), QUEUE)
        async with one.working(registry(keep)):
            await one.finished()
        await one.done_once(ids)
        assert counted("broker_invalid_packets_total", service="worker") == before + 1


async def test_the_circuit_closes_again_by_itself(one: System) -> None:
    route(one).circuit._ramp_seconds = 0.5
    route(one).lost("timeout")
    assert route(one).circuit.state is State.OPEN
    await trusted(one.producer)
    row = await one.row(await one.accept())
    assert row is not None
    assert row["holder"] == route(one).holder


SIZES = st.lists(st.one_of(st.integers(0, 2_000), st.integers(20_000, 100_000)), max_size=250)


@given(SIZES)
def test_packs_keep_the_order_and_the_limits_and_forget_nobody(sizes: list[int]) -> None:
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    queue = deque(
        Message(UUID(int=n), "t", "webhooks", "", moment, bytes(size)) for n, size in enumerate(sizes)
    )
    packs = []
    while queue:
        full = _fills_a_pack(queue)
        packs.append(_pack(queue))
        assert full or not queue  # what does not fill a pack is in one
    assert [message.id.int for pack in packs for message in pack] == list(range(len(sizes)))
    for pack in packs:
        assert len(pack) <= MAX_PACK_MESSAGES
        assert len(pack) == 1 or sum(len(message.body) for message in pack) <= MAX_PACK_BYTES


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 1_000)), max_size=60))
def test_no_living_lease_is_outside_the_window(steps: list[tuple[float, int]]) -> None:
    clock, lease = TurnedClock(), 5.0
    window, given_at = LeaseWindow(clock, lease_seconds=lease), Counter[int]()
    for pause, identifier in steps:
        clock.turn(pause)
        window.note(UUID(int=identifier))
        given_at[identifier] = max(given_at[identifier], int(clock.seconds * 1_000))
        alive = [one for one, at in given_at.items() if at / 1_000 + lease > clock.seconds]
        since = window.since()
        assert since is not None
        assert since.int <= min(alive)
    clock.turn(lease + 3)
    assert window.since() is None
