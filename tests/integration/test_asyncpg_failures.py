"""What asyncpg does to its users when Postgres leaves, stays silent or is short of connections, tried on shopbus."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from libs.common.contracts.envelope import Draft
from libs.common.db import connection, database_away_named, direct_connections, open_pool
from libs.common.errors import DatabaseAway
from libs.common.outbox.open import open_producer
from libs.common.runtime import claims
from libs.common.settings import CommonSettings
from services.worker.app import open_service
from services.worker.config import Settings
from services.worker.sdk import Context, Message, on
from tests.environment import MakeSettings
from tests.integration.detours import Detour, through_proxy
from tests.integration.protocol import LONG, System, effect, registry, system
from tests.waiting import poll

SIZE = 3
SLEEPING = "SELECT count(*) = $2 FROM pg_stat_activity WHERE state = 'active' AND query = $1"
STORED = "SELECT id FROM webhooks.messages WHERE key = $1"
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"
RENEWED = (
    "SELECT count(*) = $2 FROM webhooks.outbox WHERE leased_until > $1::timestamptz + interval '2 seconds'"
)


@on("webhook.plain")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@pytest.fixture
def detour(database: str) -> Iterator[Detour]:
    with through_proxy(database) as way:
        yield way


@pytest.fixture
def settings_there(detour: Detour) -> CommonSettings:
    return CommonSettings.load(database_url=detour.url, database_pool_size=SIZE, database_timeout_seconds=1.0)


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database, database_timeout_seconds=1.0) as ready:
        yield ready


async def all_usable(pool: asyncpg.Pool) -> None:
    """Fails unless all the connections that a pool may have can be used at the same time."""
    async with AsyncExitStack() as stack:
        for _ in range(SIZE):
            conn = await stack.enter_async_context(connection(pool, LONG))
            assert await conn.fetchval("SELECT true")


# the pool


async def test_a_connection_that_asyncpg_gave_up_by_itself_leaves_its_place(
    settings_there: CommonSettings,
) -> None:
    """Asyncpg #1307: after a message it could not read, a pool had one place less for ever."""
    async with open_pool(settings_there) as pool:
        for _ in range(2 * SIZE):
            async with connection(pool, LONG) as conn:
                await conn.execute("SELECT 1")
                conn._con._protocol.abort()  # type: ignore[union-attr]  # as it does itself then
        async with asyncio.timeout(LONG / 2):
            await all_usable(pool)


async def test_statements_broken_off_by_a_failover_say_that_postgres_is_away_and_leave_their_places(
    settings_there: CommonSettings, detour: Detour, database: str
) -> None:
    """Asyncpg's "connection was closed in the middle of operation", once for each connection, after a restart."""
    watcher = await asyncpg.connect(database)
    async with open_pool(settings_there) as pool:

        async def work(statement: str) -> None:
            with database_away_named():
                async with connection(pool, LONG) as conn, conn.transaction():
                    await conn.execute(statement, timeout=LONG)

        for failover in range(3):
            statement = f"SELECT pg_sleep(60), {failover}"
            working = [asyncio.create_task(work(statement)) for _ in range(SIZE)]
            await poll(lambda statement=statement: watcher.fetchval(SLEEPING, statement, SIZE))  # type: ignore[misc]
            detour.proxy.cut()
            outcomes = await asyncio.gather(*working, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {DatabaseAway}
        async with asyncio.timeout(LONG / 2):
            await all_usable(pool)
    await watcher.close()


@pytest.mark.parametrize("deadline", ["the pool's", "the caller's"])
async def test_statements_given_up_on_a_silent_server_leave_their_places(
    settings_there: CommonSettings, detour: Detour, deadline: str
) -> None:
    """Asyncpg #1370: giving up a statement waits for a cancellation that a silent server never answers."""
    callers = 1.0 if deadline == "the caller's" else None
    async with open_pool(settings_there, longest_transaction=callers and LONG) as pool:

        async def work(everybody: asyncio.Barrier) -> None:
            with database_away_named():
                async with connection(pool, 1.0) as conn:
                    await everybody.wait()
                    async with asyncio.timeout(callers), conn.transaction():
                        await conn.execute("SELECT 1")

        for _ in range(2):
            everybody = asyncio.Barrier(SIZE + 1)
            working = [asyncio.create_task(work(everybody)) for _ in range(SIZE)]
            await everybody.wait()
            detour.proxy.blackhole()
            async with asyncio.timeout(LONG / 2):
                outcomes = await asyncio.gather(*working, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {DatabaseAway}
            detour.proxy.cut()
            detour.proxy.heal()
        async with asyncio.timeout(LONG / 2):
            await all_usable(pool)


async def test_waiting_for_a_connection_ends_when_all_are_in_use(settings_there: CommonSettings) -> None:
    """Asyncpg's `acquire` waits without a limit by default."""
    async with open_pool(settings_there) as pool, AsyncExitStack() as stack:
        for _ in range(SIZE):
            await stack.enter_async_context(connection(pool, LONG))
        async with asyncio.timeout(LONG / 2):
            with pytest.raises(DatabaseAway):
                async with connection(pool, 0.1):
                    raise AssertionError


async def test_callers_that_lose_patience_while_they_wait_cost_no_connection(
    settings_there: CommonSettings,
) -> None:
    """Asyncpg #467: a deadline that met the very moment of an acquisition kept the connection for ever."""
    ends = Counter[str]()

    async def hurry(patience: float) -> None:
        for _ in range(50):
            try:
                async with asyncio.timeout(patience), connection(pool, LONG):
                    await asyncio.sleep(0)
            except TimeoutError:
                ends["given up"] += 1
            else:
                ends["served"] += 1

    async with open_pool(settings_there) as pool:
        await all_usable(pool)
        await asyncio.gather(*(hurry(number / 20_000) for number in range(40)))
        assert min(ends["given up"], ends["served"]) > 0  # else nothing was shown
        async with asyncio.timeout(LONG / 2):
            await all_usable(pool)


async def test_handlers_that_hold_all_their_connections_starve_neither_each_other_nor_the_runtime(
    one: System, settings: MakeSettings
) -> None:
    """Asyncpg #1247: who waits for a connection of a busy pool may be passed over again and again.

    So nobody has to: there are as many connections for handlers as may run at once, and others for the rest.
    """
    inside, release = list[UUID](), asyncio.Event()

    @on("webhook.plain")
    async def hold(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            inside.append(message.id)
            await release.wait()
            await effect(tx, message)

    tight = settings(
        Settings, database_url=one.database_url, database_pool_size=1, consumer_concurrency=8,
        consumer_lease_seconds=1.0,
    )  # fmt: skip
    ids = await one.accept_many(20, "webhook.plain")
    async with open_service(tight, registry=registry(hold)):
        await poll(lambda: len(inside) == 7, within=LONG)  # of eight places one is kept for critical work
        begun = await one.pool.fetchval("SELECT now()")
        await poll(lambda: one.pool.fetchval(RENEWED, begun, 20 - 7))  # those that wait for their turn
        assert len(inside) == 7
        release.set()
        await one.finished()
    await one.done_once(ids)


# a server that says nothing


async def test_opening_a_connection_to_a_silent_server_ends(
    settings_there: CommonSettings, detour: Detour
) -> None:
    """Asyncpg waits a minute for a new connection, whatever `command_timeout` says."""
    detour.proxy.blackhole()
    async with asyncio.timeout(LONG / 2):
        with pytest.raises(TimeoutError):
            await direct_connections(settings_there)()
        async with open_pool(settings_there) as pool:
            with pytest.raises(DatabaseAway):
                async with connection(pool, 1.0):
                    raise AssertionError


async def test_a_pool_opens_while_postgres_is_away(settings_there: CommonSettings, detour: Detour) -> None:
    """Asyncpg 0.32 keeps `min_size` connections open, and does not open a pool without them."""
    detour.proxy.refuse()
    async with open_pool(settings_there) as pool:
        with pytest.raises(DatabaseAway):
            async with connection(pool, 1.0):
                raise AssertionError
        detour.proxy.heal()
        await all_usable(pool)


# commits of which nobody knows the outcome


async def test_an_acceptance_whose_answer_was_lost_is_found_again_by_its_key(
    one: System, detour: Detour
) -> None:
    """Asyncpg's "connection was closed in the middle of operation" leaves open whether the commit happened."""
    draft = Draft("webhook.plain", b"{}", shop="a.myshopify.com", key="once")
    there = one.settings.model_copy(update={"database_url": detour.secret})
    async with open_pool(there) as pool, open_producer(there, schema="webhooks", pool=pool) as producer:
        await producer.accept(Draft("webhook.plain", b"{}"))
        detour.proxy.hold("to_client")
        with pytest.raises(DatabaseAway):
            await producer.accept(draft)
        stored = await poll(lambda: one.pool.fetchval(STORED, "once"))
        detour.proxy.cut()
        detour.proxy.heal()
        again = await producer.accept(draft)
    assert (again.id, again.duplicate) == (stored, True)


async def test_a_handlers_commit_whose_answer_was_lost_is_not_repeated(one: System, detour: Detour) -> None:
    """Asyncpg's "connection was closed in the middle of operation", at the COMMIT of a message's one transaction."""
    calls = Counter[UUID]()

    @on("webhook.plain")
    async def keep(message: Message, ctx: Context) -> None:
        calls[message.id] += 1
        async with ctx.transaction() as tx:
            await effect(tx, message)
            if len(calls) == 1:
                detour.proxy.hold("to_client")

    async with one.working(registry(keep), database_url=detour.secret, consumer_lease_seconds=1.0) as worker:
        ids = [await one.accept("webhook.plain")]
        await poll(one.history, within=LONG)
        await poll(lambda: worker.consumer.state() is not None, within=LONG)
        detour.proxy.cut()
        detour.proxy.heal()
        ids += await one.accept_many(10, "webhook.plain")
        await one.finished()
    await one.done_once(ids)


# wake-ups


async def test_a_worker_whose_listening_connection_was_ended_hears_again_and_what_it_missed(
    one: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that LISTENs says nothing when it ends, and what was notified meanwhile is gone."""
    monkeypatch.setattr(claims, "SWEEP_SECONDS", 3600.0)
    async with one.working(registry(keep)):
        (deaf,) = await poll(lambda: one.pool.fetch(LISTENERS))
        async with one.pool.acquire() as conn, conn.transaction():
            (unheard,) = await one.producer.put(conn, [Draft("webhook.plain", b"{}")])  # nobody is woken
        await one.pool.execute("SELECT pg_terminate_backend($1)", deaf["pid"])
        await one.finished(within=20)
        await poll(lambda: one.pool.fetch(LISTENERS))
        heard = await one.accept("webhook.plain")
        await one.finished(within=20)
    await one.done_once([unheard.id, heard])
