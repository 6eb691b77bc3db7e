"""What the simulation relies on, shown on the real Postgres and on its model by the same tests."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest

from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import Lane
from libs.common.ids import id_floor
from libs.common.outbox import claim_store, end_store, put_store
from libs.common.outbox.claim_store import FIRST_ID, ClaimPlan
from libs.common.outbox.end_store import Ending
from libs.common.outbox.names import bind
from libs.common.outbox.put_store import Outgoing
from libs.common.outbox.wakes import channel
from libs.common.runtime import schedules, slots
from tests.simulation.conformance_servers import Model, Real, Server
from tests.waiting import poll

T = TypeVar("T")

_MOMENT = datetime(2026, 11, 27, 12, tzinfo=UTC)
ONE, TWO = (UUID(int=id_floor(_MOMENT).int | number) for number in (1, 2))
PLAN = ClaimPlan("worker", "worker:a", lease_seconds=60)
_SUSPECT_ONE = (
    bind(claim_store.SUSPECT, source="webhooks"), "worker", "default", ONE, "worker:a", timedelta(seconds=60),
)  # fmt: skip


@pytest.fixture(params=["postgres", "model"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        yield Model() if request.param == "model" else Real(request.getfixturevalue("database"), stack)


async def put(conn: asyncpg.Connection, *ids: UUID, key: str | None = None) -> set[UUID]:
    draft = Draft("webhook.x", b"{}", shop="x", key=key)
    batch = [Outgoing(one, draft, Lane.DEFAULT, ("worker",), leased=False, time=_MOMENT) for one in ids]
    return await put_store.put(conn, "webhooks", batch, holder="", lease_seconds=60)


def message(message_id: UUID) -> Message:
    return Message(id=message_id, type="webhook.x", source="webhooks", shop="x", time=_MOMENT, body=b"{}")


async def end(conn: asyncpg.Connection, message_id: UUID) -> bool:
    ending = Ending(message(message_id), Lane.DEFAULT, "completed", None, "postgres", _MOMENT)
    return await end_store.end_one(conn, "worker", ending)


async def claim(conn: asyncpg.Connection) -> list[UUID]:
    claimed = await claim_store.claim(conn, "webhooks", PLAN, lane=Lane.DEFAULT, after=FIRST_ID, limit=9)
    return [one.message.id for one in claimed]


async def suspect(conn: asyncpg.Connection, message_id: UUID) -> int | None:
    return await claim_store.suspect(conn, "webhooks", PLAN, Lane.DEFAULT, message_id)


async def started(
    server: Server, conn: asyncpg.Connection, work: Coroutine[Any, Any, T]
) -> "asyncio.Task[T]":
    """Work that waits for a lock."""
    task = asyncio.create_task(work)
    await poll(lambda: server.waits(conn))
    return task


async def test_of_several_that_end_a_message_one_does(server: Server) -> None:
    holder, *others = [await server.connect() for _ in range(4)]
    await put(holder, ONE)
    block = holder.transaction()
    await block.start()
    assert await end(holder, ONE)
    tasks = [await started(server, other, end(other, ONE)) for other in others]
    await block.rollback()
    assert sorted(await asyncio.gather(*tasks)) == [False, False, True]


async def test_who_waited_goes_on_with_what_the_other_committed(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    await put(holder, ONE)
    block = holder.transaction()
    await block.start()
    assert await suspect(holder, ONE) == 1
    waiting = await started(server, other, suspect(other, ONE))
    await block.commit()
    assert await waiting == 2


async def test_of_several_at_one_tick_one_takes_it(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    know, take = (bind(text, consumer="worker") for text in (schedules.KNOW, schedules.TAKE))
    await holder.execute(know, ["nightly"])
    due = datetime(2099, 1, 1, tzinfo=UTC)
    block = holder.transaction()
    await block.start()
    assert await holder.fetchval(take, "nightly", due) == "nightly"
    waiting = await started(server, other, other.fetchval(take, "nightly", due))
    await block.commit()
    assert await waiting is None


async def test_what_is_due_is_moved_in_the_order_of_its_time_up_to_a_limit(server: Server) -> None:
    conn = await server.connect()
    await put(conn, ONE, TWO)
    for message_id, wait in ((ONE, -1.0), (TWO, -2.0)):
        await end_store.schedule(
            conn, "worker", message(message_id), Lane.DEFAULT, delay_seconds=wait, reason="later", attempt=None,
            counted=False,
        )  # fmt: skip
    moves = [await claim_store.move_due(conn, "webhooks", PLAN, tuple(Lane), 1) for _ in range(3)]
    assert [[one.message.id for one in moved] for moved in moves] == [[TWO], [ONE], []]


async def test_of_several_with_one_key_one_is_stored(server: Server) -> None:
    holder, *others = [await server.connect() for _ in range(3)]
    block = holder.transaction()
    await block.start()
    assert await put(holder, ONE, key="same") == {ONE}
    ids = [UUID(int=TWO.int + number) for number in range(len(others))]
    pairs = zip(others, ids, strict=True)
    tasks = [await started(server, other, put(other, one, key="same")) for other, one in pairs]
    await block.rollback()
    stored = [one for answer in await asyncio.gather(*tasks) for one in answer]
    assert len(stored) == 1
    assert set(stored) <= set(ids)


async def test_a_locked_row_is_passed_over_by_claims(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    await put(holder, ONE, TWO)
    async with holder.transaction():
        await end(holder, ONE)
        assert await claim(other) == [TWO]


async def test_a_deadlock_ends_one_of_its_transactions(server: Server) -> None:
    conns = [await server.connect(), await server.connect()]
    await put(conns[0], ONE, TWO)

    async def both(conn: asyncpg.Connection, first: UUID, second: UUID, met: asyncio.Barrier) -> None:
        async with conn.transaction():
            await suspect(conn, first)
            await met.wait()
            await suspect(conn, second)

    met = asyncio.Barrier(2)
    works = (both(conns[0], ONE, TWO, met), both(conns[1], TWO, ONE, met))
    results = await asyncio.gather(*works, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [asyncpg.DeadlockDetectedError]
    assert await suspect(conns[0], ONE) == 2


async def test_a_swallowed_error_makes_the_commit_fail(server: Server) -> None:
    conn = await server.connect()
    await put(conn, ONE)
    block = conn.transaction()
    await block.start()
    assert await end(conn, ONE)
    with pytest.raises(asyncpg.UniqueViolationError):
        await put(conn, ONE)
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await end(conn, ONE)
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await block.commit()
    assert await claim(conn) == [ONE]


async def test_an_error_frees_the_locks_before_the_block_ends(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    await put(holder, ONE)
    block = holder.transaction()
    await block.start()
    await end(holder, ONE)
    waiting = await started(server, other, end(other, ONE))
    with pytest.raises(asyncpg.UniqueViolationError):
        await put(holder, ONE)
    assert await waiting
    await block.rollback()


async def test_after_its_deadline_a_waiting_statement_leaves_no_trace(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    await put(holder, ONE, TWO)
    async with holder.transaction():
        await end(holder, ONE)
        block = other.transaction()
        await block.start()
        await end(other, TWO)
        with pytest.raises(TimeoutError):
            await other.fetchval(*_SUSPECT_ONE, timeout=0.1)
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await end(other, TWO)
        await block.rollback()
        assert await claim(other) == [TWO]


async def test_a_statement_is_done_although_its_client_has_gone(server: Server) -> None:
    holder, gone, other = [await server.connect() for _ in range(3)]
    await put(holder, ONE)
    block = holder.transaction()
    await block.start()
    await suspect(holder, ONE)
    waiting = await started(server, gone, end(gone, ONE))
    gone.terminate()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await waiting
    await block.commit()

    async def is_gone() -> bool:
        return await suspect(other, ONE) is None

    await poll(is_gone)  # the two are not served in any order


async def test_a_lost_client_frees_what_it_held(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    await put(holder, ONE)
    block = holder.transaction()
    await block.start()
    await end(holder, ONE)
    waiting = await started(server, other, end(other, ONE))
    holder.terminate()
    assert await waiting


async def test_a_session_that_is_silent_for_too_long_is_ended_with_its_locks(server: Server) -> None:
    other, silent = await server.connect(), await server.connect(idle_session_timeout="1s")
    take = bind(slots.TAKE, consumer="worker")
    assert await silent.fetchval(take, 7, 1, [], -1.0) == 0
    assert await other.fetchval(take, 7, 1, [], -1.0) is None
    await poll(silent.is_closed)
    row = await poll(lambda: other.fetchrow(take, 7, 1, [], -1.0))
    assert row is not None
    assert tuple(row) == (0, True)  # the row of the silent one is still there


async def test_a_slot_that_is_being_given_back_is_not_doubtful(server: Server) -> None:
    holder, other = await server.connect(), await server.connect()
    take, release = (bind(text, consumer="worker") for text in (slots.TAKE, slots.RELEASE))
    await holder.fetchrow(take, 7, 1, [], -1.0)
    block = holder.transaction()
    await block.start()
    await holder.fetchrow(release, 7, 0)
    taking = await started(server, other, other.fetchrow(take, 7, 1, [], -1.0))
    await block.commit()
    assert tuple(await taking or ()) == (0, False)


async def test_notifications_come_with_the_commit(server: Server) -> None:
    listener, sender = await server.connect(), await server.connect()
    heard: list[object] = []
    await listener.add_listener(channel("worker"), lambda *notice: heard.append(notice[3]))
    block = sender.transaction()
    await block.start()
    await put_store.notify(sender, [(channel("worker"), "undone")])
    await block.rollback()
    async with sender.transaction():
        await put_store.notify(sender, [(channel("worker"), "one"), (channel("worker"), "one")])
        await put_store.notify(sender, [(channel("worker"), "two"), (channel("others"), "three")])
        await listener.execute("SELECT 1")
        assert heard == []
    await poll(lambda: len(heard) > 1)
    assert heard == ["one", "two"]
