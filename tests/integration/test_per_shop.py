"""A shop's limit holds over all processes at every instant, and no shop waits for another's."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from libs.common.clock import Clock, SystemClock
from libs.common.db import Connection, direct_connections
from libs.common.runtime.slots import SURE_SECONDS, Slot, Slots
from libs.common.settings import CommonSettings
from services.worker.sdk import Context, Message, on
from tests.clocks import TurnedClock
from tests.integration.protocol import HandlerFunction, System, effect, registry, system
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

HOLDERS = """
SELECT DISTINCT pid FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SETTLED = """
SELECT EXISTS (SELECT FROM worker.slots WHERE number = -1 AND taken_at < clock_timestamp() - make_interval(secs => $1))
"""
CUT = "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid"


async def cut(conn: Connection) -> bool:
    """Ends the sessions that hold locks; whether there were any."""
    pids = [row["pid"] for row in await conn.fetch(HOLDERS)]
    await conn.execute(CUT, pids)
    return bool(pids)


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


@pytest.fixture
async def one(database: str, broker: str | None) -> AsyncIterator[System]:
    async with system(database, broker) as ready:
        yield ready


@dataclass
class Floor:
    """Who is inside, seen by all workers of this process."""

    inside: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def entered(self, shop: str) -> Iterator[None]:
        self.inside[shop] += 1
        self.most[shop] = max(self.most[shop], self.inside[shop])
        try:
            yield
        finally:
            self.inside[shop] -= 1


def limited(floor: Floor, limit: int, seconds: float = 0.02) -> HandlerFunction:
    @on("webhook.limited", per_shop=limit)
    async def work(message: Message, ctx: Context) -> None:
        with floor.entered(message.shop):
            await asyncio.sleep(seconds)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    return work


async def test_never_more_than_the_limit_run_for_one_shop_over_two_workers(one: System) -> None:
    floor = Floor()
    handlers = registry(limited(floor, 2))
    async with one.working(handlers), one.working(handlers):
        ids = await asyncio.gather(*(one.accept("webhook.limited", shop=f"s{n % 4}") for n in range(120)))
        await one.finished()
        assert await one.pool.fetch(HOLDERS) == []
    assert floor.most == Counter({f"s{n}": 2 for n in range(4)})
    await one.done_once(ids)


async def test_the_limit_holds_also_while_the_locks_connections_are_cut(one: System) -> None:
    """Postgres frees the locks before their process can know; the next holder waits until it surely does nothing."""
    floor = Floor()
    handlers = registry(limited(floor, 2))
    async with one.working(handlers), one.working(handlers):
        ids = await asyncio.gather(*(one.accept("webhook.limited", shop=f"s{n % 2}") for n in range(80)))
        for _ in range(5):
            async with one.pool.acquire() as conn:
                await poll(lambda: cut(conn))
        await one.finished()
    assert floor.most == Counter({"s0": 2, "s1": 2})
    await one.done_once(ids)


async def test_higher_limits_leave_no_lock_behind(one: System) -> None:
    floor = Floor()
    handlers = registry(limited(floor, 6))
    async with one.working(handlers), one.working(handlers):
        ids = await asyncio.gather(*(one.accept("webhook.limited", shop="s") for _ in range(120)))
        await one.finished()
        assert await one.pool.fetch(HOLDERS) == []
    assert 2 < floor.most["s"] <= 6
    await one.done_once(ids)


async def test_a_busy_shop_holds_up_no_other(one: System) -> None:
    release = asyncio.Event()

    @on("webhook.limited", per_shop=1)
    async def work(message: Message, ctx: Context) -> None:
        if message.shop == "busy":
            await release.wait()
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with one.working(
        registry(work), consumer_concurrency=4, consumer_buffer=20, consumer_claim_batch=20
    ):
        busy = await asyncio.gather(*(one.accept("webhook.limited", shop="busy") for _ in range(25)))
        others = await asyncio.gather(*(one.accept("webhook.limited", shop=f"s{n}") for n in range(20)))
        await poll(lambda: one.pool.fetchval("SELECT count(*) = 20 FROM worker.history"), within=30)
        assert set(await one.history()) == set(others)
        release.set()
        await one.finished(hurry=True)
    await one.done_once([*busy, *others])


async def test_messages_of_no_shop_have_no_limit(one: System) -> None:
    floor = Floor()
    handlers = registry(limited(floor, 1, seconds=0.2))
    async with one.working(handlers):
        ids = await one.accept_many(30, "webhook.limited")
        await one.finished()
    assert floor.most[""] > 1
    await one.done_once(ids)


# the locks themselves


@asynccontextmanager
async def slots(database: str, lost: list[str], clock: Clock | None = None) -> AsyncIterator[Slots]:
    connect = direct_connections(CommonSettings.load(database_url=database))
    one = Slots(connect, "worker", clock or SystemClock(), lost=lambda: lost.append("lost"))
    try:
        yield one
    finally:
        await one.close()


async def test_slots_are_shared_between_sessions_and_counted_exactly(database: str) -> None:
    async with slots(database, []) as a, slots(database, []) as b:
        taken = [await a.take("h", "s", 5) for _ in range(3)] + [await b.take("h", "s", 5) for _ in range(3)]
        assert [slot and slot.number for slot in taken] == [0, 1, 2, 3, 4, None]
        assert taken[1] is not None
        await a.release(taken[1])
        again = await b.take("h", "s", 5)
        assert again is not None
        assert again.number == 1
        assert await a.take("h", "s", 5) is None
        assert await a.take("h", "another", 5) is not None
        assert await a.take("another", "s", 5) is not None


async def test_a_late_release_of_a_lost_slot_does_not_free_its_successor(database: str) -> None:
    lost: list[str] = []
    async with slots(database, lost) as a, slots(database, []) as b:
        before = await a.take("h", "s", 1)
        assert before is not None
        conn = await asyncpg.connect(database)
        assert await cut(conn)
        await conn.close()
        await poll(lambda: lost)
        successor = await a.take("h", "s", 1)
        assert successor is not None
        await a.release(before)
        assert await b.take("h", "s", 1) is None
        await a.release(successor)
        assert await b.take("h", "s", 1) is not None


async def test_the_locks_of_a_closed_session_are_free(database: str) -> None:
    async with slots(database, []) as b:
        async with slots(database, []) as a:
            assert await a.take("h", "s", 1) is not None
            assert await b.take("h", "s", 1) is None
        await poll(lambda: b.take("h", "s", 1))


async def waited(clock: TurnedClock, one: Slots, shop: str) -> tuple[Slot, float]:
    """A slot, and how long the clock says that it took to settle."""
    before = clock.seconds
    slot = await one.take("h", shop, 1)
    assert slot is not None
    return slot, clock.seconds - before


async def test_an_abandoned_slot_is_used_only_after_its_holder_must_have_noticed(database: str) -> None:
    clock = TurnedClock()
    async with slots(database, []) as a, slots(database, [], clock) as b:
        assert await a.take("h", "s", 1) is not None
        await a.close()  # as a crash does: the lock is free, and the row is left
        await poll(lambda: b.take("h", "s", 1))
        assert clock.seconds == pytest.approx(SURE_SECONDS)


async def test_a_slot_that_was_given_back_can_be_used_at_once(database: str) -> None:
    clock = TurnedClock()
    async with slots(database, []) as a, slots(database, [], clock) as b:
        slot = await a.take("h", "s", 1)
        assert slot is not None
        await a.release(slot)
        await poll(
            lambda: a_while_after_a_crash(database)
        )  # an earlier test's, whose marker that first slot set
        _, seconds = await waited(clock, b, "s")
        assert seconds == 0


async def a_while_after_a_crash(database: str) -> bool:
    """Postgres has been up for so long that no holder of a lock from before can be about."""
    conn = await asyncpg.connect(database)
    try:
        return bool(await conn.fetchval(SETTLED, SURE_SECONDS))
    finally:
        await conn.close()


@pytest.mark.parametrize("crash", ["the server", "one backend"])
async def test_after_a_crash_of_postgres_every_slot_settles_first(
    database: str, postgres: PostgresServer, crash: str
) -> None:
    """It emptied the table that tells of abandoned slots, and freed all locks."""
    clock = TurnedClock()
    async with slots(database, [], clock) as a:
        _, seconds = await waited(clock, a, "before")
        if crash == "the server":
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
        else:
            await one_backend_killed(database)
    async with slots(database, [], clock) as b:
        _, seconds = await waited(clock, b, "s")
        assert seconds == pytest.approx(SURE_SECONDS)


async def one_backend_killed(database: str) -> None:
    """Postgres then ends all sessions and begins anew, under the same main process. Returns when it answers again."""
    conn = await asyncpg.connect(database)
    os.kill(conn.get_server_pid(), signal.SIGKILL)

    async def answers() -> bool:
        try:
            again = await asyncpg.connect(database)
        except (OSError, asyncpg.PostgresError):
            return False
        await again.close()
        return True

    await poll(conn.is_closed)
    await poll(answers)


async def test_slots_that_were_lost_with_their_session_settle_and_others_do_not(database: str) -> None:
    lost: list[str] = []
    clock = TurnedClock()
    async with slots(database, lost, clock) as a:
        assert await a.take("h", "s", 1) is not None
        conn = await asyncpg.connect(database)
        assert await cut(conn)
        await conn.close()
        await poll(lambda: lost)
        await poll(lambda: a_while_after_a_crash(database))
        _, seconds = await waited(clock, a, "s")
        assert seconds == pytest.approx(SURE_SECONDS)
        _, seconds = await waited(clock, a, "another")
        assert seconds == 0


async def test_a_slot_is_in_doubt_when_postgres_was_not_heard_of_for_a_while(database: str) -> None:
    clock = TurnedClock()
    async with slots(database, [], clock) as a:
        slot, _ = await waited(clock, a, "s")
        await slot.prove()
        assert slot.sure()
        clock.turn(SURE_SECONDS)
        assert not slot.sure()
        await slot.prove()
        assert slot.sure()
