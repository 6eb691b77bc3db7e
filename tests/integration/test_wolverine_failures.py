"""How Wolverine, an outbox of the same kind, failed its users (QUEUES.md 3.8), tried on shopbus."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aio_pika
import pytest
from pydantic import SecretStr

from libs.common.bus.packing import encode
from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import CONSUMERS, EXCHANGE, SOURCES, Lane
from libs.common.outbox.circuit import State
from libs.common.outbox.retention import expire
from services.worker.sdk import Context, Message, on
from tests.clocks import TurnedClock
from tests.integration.another_program import drained, erp_listens, only_storing, relaying
from tests.integration.bus_kit import KEY
from tests.integration.detours import Detour, connects, opened, publisher_of, route_of, through_proxy
from tests.integration.protocol import CONSUMER, LONG, System, effect, registry, system, trusted
from tests.servers.ports import free_port
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

LEAVE_TO = "UPDATE webhooks.outbox SET holder = $1, leased_until = now() + interval '1 second'"
TRIES = "SELECT deliveries FROM webhooks.outbox WHERE destination = 'erp'"
TRY_NOW = "UPDATE webhooks.outbox SET leased_until = now() WHERE destination = 'erp'"
AGE = "UPDATE worker.history SET finished_at = finished_at - interval '13 days'"
FORGET = "WITH h AS (DELETE FROM worker.history) DELETE FROM webhooks.messages"
CLEAN_AWAY = "SELECT pg_terminate_backend($1)"


@on("#")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)
        if message.type == "webhook.first":
            await ctx.emit("then.at.once")
            await ctx.emit("then.later", delay=0.2)


ALL = registry(keep)


@pytest.fixture
def detour(rabbit: RabbitNode, broker_url: str) -> Iterator[Detour]:
    with through_proxy(broker_url) as way:
        yield way


@pytest.fixture
async def one(database: str, detour: Detour) -> AsyncIterator[System]:
    """A producer that reaches RabbitMQ by a detour, and whose leases do not end by themselves while a test runs."""
    quick = {"broker_confirm_seconds": 1.0, "broker_connect_seconds": 1.0}
    async with system(database, detour.url, broker_lease_seconds=600.0, **quick) as ready:
        route_of(ready.producer).circuit._ramp_seconds = 0.5
        yield ready


async def brought_by(one: System, *ids: UUID) -> set[str]:
    history = await one.history()
    return {history[identifier]["route"] for identifier in ids}


# the way back


async def test_a_single_failure_starts_the_way_back(one: System, detour: Detour, broker_url: str) -> None:
    """Wolverine #1430: the watcher started after several failures, so after fewer nobody ever looked again."""
    async with one.working(ALL, rabbitmq_url=SecretStr(broker_url)):
        detour.proxy.hold("to_client")
        ids = [await one.accept()]
        await opened(one.producer)
        detour.proxy.heal()
        await trusted(one.producer)  # without any further message
        ids.append(await one.accept())
        await one.finished()
    await one.done_once(ids)
    assert await brought_by(one, ids[-1]) == {"rabbitmq"}


async def test_a_broker_that_can_be_reached_and_takes_nothing_is_not_trusted(
    one: System, rabbit: RabbitNode
) -> None:
    """Wolverine #1430: the ping that ended the pause said yes to everything."""
    states = set()

    def probed_again() -> bool:
        states.add(route_of(one.producer).circuit.state)
        return connects() >= before + 4

    await asyncio.to_thread(rabbit.raise_disk_alarm)
    await opened(one.producer)
    before = connects()
    await poll(probed_again, within=LONG)
    assert states == {State.OPEN}
    await asyncio.to_thread(rabbit.clear_alarms)
    await trusted(one.producer)


async def test_a_channel_that_died_alone_is_replaced(one: System, broker_url: str) -> None:
    """Wolverine #3171: RabbitMQ closed a channel and kept the connection, and the sender was latched for ever."""
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        await channel.exchange_delete(EXCHANGE)  # who publishes to it loses the channel
    ids = await one.accept_many(20)
    await opened(one.producer)
    await trusted(one.producer)
    async with one.working(ALL):
        ids.append(await one.accept())
        await one.finished()
    await one.done_once(ids)
    assert await brought_by(one, ids[-1]) == {"rabbitmq"}


async def test_a_consuming_channel_that_died_alone_is_replaced(one: System, broker_url: str) -> None:
    """Wolverine #3171: a listener whose channel RabbitMQ closed stopped consuming, and said nothing."""
    async with one.working(ALL, rabbitmq_url=SecretStr(broker_url)) as worker:
        consumer = worker.consumer._broker
        assert consumer is not None
        for tap in (0, 1, -1):
            before = connects(CONSUMER, "consume")
            assert consumer._session is not None
            consumer._session._taps[tap].acks.add(1_000_000)  # a tag that RabbitMQ never gave out
            await poll(lambda before=before: connects(CONSUMER, "consume") > before, within=LONG)  # type: ignore[misc]
        ids = [await one.accept(kind) for kind in ("webhook.plain", "pixel.frame", "webhook.shop.redact")]
        await one.finished()
    await one.done_once(ids)
    assert await brought_by(one, *ids) == {"rabbitmq"}


async def test_connections_that_were_cut_while_nothing_happened_are_back_when_something_does(
    one: System, detour: Detour
) -> None:
    """Wolverine #3955: what had been idle for minutes was cleaned away, and its messages stayed in the outbox."""
    async with one.working(ALL) as worker:
        before = connects(), connects(CONSUMER, "consume")
        detour.proxy.cut()
        await poll(lambda: connects() > before[0] and connects(CONSUMER, "consume") > before[1], within=LONG)
        await asyncio.gather(trusted(one.producer), worker.up())
        identifier = await one.accept()
        await one.finished()
    await one.done_once([identifier])
    assert await brought_by(one, identifier) == {"rabbitmq"}


async def test_a_shops_limit_holds_again_after_its_idle_session_was_ended(one: System) -> None:
    """Wolverine #3955: what had been idle for minutes was cleaned away, and its messages stayed in the outbox."""

    @on("webhook.limited", per_shop=1)
    async def work(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with one.working(registry(work)) as worker:
        ids = [await one.accept("webhook.limited", shop="a.myshopify.com")]
        await one.finished()
        slots = worker.consumer._slots
        idle = slots._session
        assert idle is not None
        await one.pool.execute(CLEAN_AWAY, idle.conn.get_server_pid())
        await poll(lambda: not slots.has(idle), within=LONG)
        ids.append(await one.accept("webhook.limited", shop="a.myshopify.com"))
        await one.finished()
    await one.done_once(ids)


# pauses


async def test_what_waits_to_be_published_when_the_circuit_opens_goes_another_way(
    one: System, detour: Detour
) -> None:
    """Wolverine #3132: messages that were buffered when the breaker paused were lost."""
    async with one.working(ALL, rabbitmq_url=None):
        detour.proxy.hold("to_client")
        ids = await one.accept_many(250)
        assert route_of(one.producer)._queues[CONSUMER, Lane.DEFAULT]  # behind the pack that has no confirm
        await one.finished()
    await one.done_once(ids)
    detour.proxy.heal()


async def test_failures_on_all_lanes_during_a_probe_lock_nothing_up(one: System, detour: Detour) -> None:
    """Wolverine #3132: the handler of a channel's error took the lock that its caller held already."""
    kinds = ("webhook.shop.redact", "webhook.plain", "pixel.frame")
    detour.proxy.blackhole()
    await poll(publisher_of(one.producer)._probing.locked, within=LONG)
    ids = await asyncio.gather(*(one.accept(kind) for kind in kinds))
    detour.proxy.cut()
    await opened(one.producer)
    detour.proxy.heal()
    await trusted(one.producer)
    async with one.working(ALL):
        ids.append(await one.accept())
        await one.finished()
    await one.done_once(ids)
    assert await brought_by(one, ids[-1]) == {"rabbitmq"}


@pytest.mark.parametrize("holder", ["broker:gone", "worker:gone", "relay:gone"])
async def test_what_a_process_owned_when_it_died_is_recovered_by_any_other(
    one: System, broker_url: str, holder: str
) -> None:
    """Wolverine #3132: latched messages were owned by a node, and only that node would have recovered them."""
    async with only_storing(one) as dead:
        ids = [(await dead.accept(Draft("erp.order", b"{}"))).id for _ in range(10)]
    await one.pool.execute(LEAVE_TO, holder)
    async with erp_listens(broker_url) as queue, relaying(one, broker_url), one.working(ALL):
        await one.finished()
        assert await drained(queue) == set(map(str, ids))
    await one.done_once(ids)


async def test_workers_that_are_each_cut_off_from_something_do_not_wait_for_each_other(
    one: System, broker_url: str
) -> None:
    """Wolverine GH-3590: who could recover the work did not get it, and who got it could not recover it."""
    nowhere = SecretStr(f"amqp://127.0.0.1:{free_port()}")
    with through_proxy(one.database_url) as database:
        async with (
            one.working(ALL, rabbitmq_url=SecretStr(broker_url), database_url=database.secret),
            one.working(ALL, rabbitmq_url=nowhere, await_broker=False),
        ):
            database.proxy.blackhole()  # the one has the work and no Postgres, the other Postgres and no work
            ids = await one.accept_many(30)
            await one.finished()
            database.proxy.cut()
            database.proxy.heal()
    await one.done_once(ids)


# what is kept, and for how long


async def test_messages_of_every_kind_outlive_an_outage(one: System, detour: Detour) -> None:
    """Wolverine #2385: endpoints of one kind were not durable, and their messages discarded after three tries."""
    detour.proxy.blackhole()
    detour.proxy.cut()
    kinds = ("webhook.first", "webhook.shop.redact", "webhook.plain", "pixel.frame", "token.rotated")
    ids = [await one.accept(kind) for kind in kinds]
    ids += [await one.accept(lane=Lane.OVERFLOW), await one.accept(delay=0.2)]
    await poll(lambda: detour.proxy.connections >= 5, within=LONG)  # as many tries that nobody answered
    async with one.working(ALL, await_broker=False):
        await one.finished()
    emitted = [identifier for identifier, row in (await one.history()).items() if row["source"] == CONSUMER]
    assert len(emitted) == 2
    await one.done_once([*ids, *emitted])


async def test_a_message_for_another_program_is_kept_through_any_number_of_tries(
    one: System, broker_url: str
) -> None:
    """Wolverine #2385: endpoints of one kind were not durable, and their messages discarded after three tries."""

    async def tried_often() -> bool:
        await one.pool.execute(TRY_NOW)
        return bool(await one.pool.fetchval(TRIES) >= 5)

    async with relaying(one, broker_url) as producer:
        identifier = (await producer.accept(Draft("erp.order", b"{}"))).id
        await poll(tried_often, within=LONG)
        async with erp_listens(broker_url) as queue:
            await one.pool.execute(TRY_NOW)
            assert await poll(lambda: drained(queue), within=LONG) == {str(identifier)}


async def test_a_delivery_is_known_for_as_long_as_it_is_kept(one: System) -> None:
    """Wolverine forgets after five minutes what it has seen, and an outage may last longer."""
    draft = Draft("webhook.plain", b"{}", shop="a.myshopify.com", key="once")
    async with only_storing(one, TurnedClock(datetime.now(UTC) - timedelta(days=13))) as producer:
        first = await producer.accept(draft)
    async with one.working(ALL):
        await one.finished()
    await one.pool.execute(AGE)
    await expire(one.pool, SOURCES, CONSUMERS, one.settings.retention_days, SystemClock())
    again = await one.producer.accept(draft)
    assert (again.id, again.duplicate) == (first.id, True)


async def test_a_copy_that_comes_after_everything_was_forgotten_has_no_effect(one: System) -> None:
    """Wolverine forgets after five minutes what it has seen; here a copy needs no memory to be recognised."""
    seen = list[Message]()

    @on("webhook.plain")
    async def look(message: Message, ctx: Context) -> None:
        seen.append(message)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with one.working(registry(look)):
        identifier = await one.accept("webhook.plain")
        await one.finished()
        await one.pool.execute(FORGET)
        await publisher_of(one.producer).publish(KEY, encode(seen[:1]))
        await poll(lambda: len(seen) == 2, within=LONG)
        last = await one.accept("webhook.plain")
        await one.finished()
    assert await one.effects() == {identifier: 1, last: 1}
