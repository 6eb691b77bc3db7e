"""What waits for a shop that removed the app is cancelled, says so, and nothing else is touched."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from libs.common.outbox import cancel_store, end_store
from libs.common.outbox.end_store import Ending
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime.outcomes import Later
from services.worker import sweep as swept
from services.worker.sdk import Context, on
from services.worker.sweep import EndedInstall, Sweep
from tests.integration.places import EXPIRED, ORDERS, OTHER_SHOP, SHOP, Places, open_places
from tests.integration.protocol import counted, registry

NEEDING, KEEPING = ORDERS, "webhook.products.update"
HISTORY = "SELECT * FROM worker.history WHERE message_id = $1"
TIME = "UPDATE webhooks.messages SET time = $2 WHERE id = $1"
LANE = "UPDATE webhooks.outbox SET lane = $2 WHERE id = $1"
LEFT = """
SELECT id FROM webhooks.outbox UNION ALL SELECT message_id FROM worker.scheduled
"""


@on(NEEDING, "task.#", needs_install=True)
async def call_shopify(message: Message, ctx: Context) -> None:
    raise AssertionError


@on(KEEPING)
async def keep(message: Message, ctx: Context) -> None:
    raise AssertionError


HANDLERS = registry(call_shopify, keep)


@pytest.fixture
async def places(database: str) -> AsyncIterator[Places]:
    async with open_places(database) as there:
        yield there


def sweep(places: Places, faults: FaultPoints | None = None) -> Sweep:
    return Sweep(places.pool, HANDLERS, SystemClock(), timeout=10, faults=faults or FaultPoints())


def ended(at: datetime | None = None, shop: str = SHOP) -> EndedInstall:
    return EndedInstall(shop, 3, at or datetime.now(UTC))


async def cancel(places: Places, install: EndedInstall, faults: FaultPoints | None = None) -> str:
    """One pass; what it says of the next one, which comes until nothing is left."""
    try:
        await sweep(places, faults).cancel(install)
    except Later as later:
        return str(later)
    return ""


async def cancelled(places: Places) -> set[UUID]:
    rows = await places.pool.fetch("SELECT message_id FROM worker.history WHERE outcome = 'cancelled'")
    return {row["message_id"] for row in rows}


async def left(places: Places) -> set[UUID]:
    return {row["id"] for row in await places.pool.fetch(LEFT)}


async def test_work_that_waits_is_cancelled_wherever_it_waits(places: Places) -> None:
    ready, lapsed = await places.pending(), await places.pending()
    await places.claim(lapsed, EXPIRED)
    retried = await places.scheduled()
    flooding = await places.pending(lane=Lane.OVERFLOW)
    before = counted("worker_swept_total", handler="tested.call_shopify")
    assert await cancel(places, ended()) == "4 cancelled, 0 in somebody's hand"
    assert await cancel(places, ended()) == ""
    assert await cancelled(places) == {ready.id, lapsed.id, retried.id, flooding.id}
    assert await left(places) == set()
    assert counted("worker_swept_total", handler="tested.call_shopify") == before + 4


async def test_history_says_why_and_keeps_the_attempts_before(places: Places) -> None:
    waiting = await places.scheduled()
    await cancel(places, ended(datetime(2026, 11, 28, 12, tzinfo=UTC) + timedelta(days=365)))
    row = await places.pool.fetchrow(HISTORY, waiting.id)
    assert row is not None
    failed, last = orjson.loads(row["log"])
    assert failed["error"] == "it hurts"
    assert last["error"] == f"never started: {SHOP} removed the app at 2027-11-28T12:00:00+00:00 (install 3)"
    assert (row["attempts"], row["handler"], row["source"]) == (2, "tested.call_shopify", "webhooks")


async def test_only_that_shop_and_only_handlers_that_need_the_install(places: Places) -> None:
    other, needless = await places.pending(shop=OTHER_SHOP), await places.pending(KEEPING)
    unhandled, later = await places.pending("webhook.unknown"), await places.scheduled(KEEPING)
    assert await cancel(places, ended()) == ""
    assert await left(places) == {other.id, needless.id, unhandled.id, later.id}


@pytest.mark.parametrize("kind", ["webhook.customers.redact", NEEDING])
async def test_what_is_critical_is_never_cancelled(places: Places, kind: str) -> None:
    message = await places.pending(kind, lane=Lane.CRITICAL)
    scheduled = await places.scheduled(kind)
    await places.pool.execute("UPDATE worker.scheduled SET lane = 'critical'")
    assert await cancel(places, ended()) == ""
    assert await left(places) == {message.id, scheduled.id}


async def test_work_in_somebodys_hand_is_left_to_it_and_looked_for_again(places: Places) -> None:
    running, brought = await places.processing(), await places.queued()
    assert await cancel(places, ended()) == "0 cancelled, 2 in somebody's hand"
    assert await left(places) == {running.id, brought.id}
    await places.fail_once(running)
    await places.complete(brought)
    assert await cancel(places, ended()) == "1 cancelled, 0 in somebody's hand"
    assert await cancelled(places) == {running.id}


async def test_a_message_that_moves_during_a_look_is_not_overlooked(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In hand while the scheduled ones are looked at, and scheduled when the outbox is."""
    running, scheduled = await places.processing(), cancel_store.scheduled

    async def and_then_it_fails(*arguments: Any, **more: Any) -> Any:
        found = await scheduled(*arguments, **more)
        if await places.pool.fetchval("SELECT true FROM webhooks.outbox WHERE id = $1", running.id):
            await places.fail_once(running)
        return found

    monkeypatch.setattr(cancel_store, "scheduled", and_then_it_fails)
    assert await cancel(places, ended()) == "0 cancelled, 1 in somebody's hand"
    assert await cancel(places, ended()) == "1 cancelled, 0 in somebody's hand"


async def test_a_handler_that_is_ending_its_message_is_not_waited_for(places: Places) -> None:
    waiting = await places.pending()
    async with places.pool.acquire() as conn, conn.transaction():
        await conn.execute("DELETE FROM webhooks.outbox WHERE id = $1", waiting.id)
        assert await cancel(places, ended()) == "0 cancelled, 1 in somebody's hand"
    assert await cancel(places, ended()) == ""
    assert await cancelled(places) == set()


async def test_a_late_uninstall_leaves_the_work_of_a_fresh_install_alone(places: Places) -> None:
    removed = datetime.now(UTC) - timedelta(hours=1)
    old, fresh, fresh_retry = await places.pending(), await places.pending(), await places.scheduled()
    await places.pool.execute(TIME, old.id, removed - timedelta(seconds=1))
    await places.pool.execute(TIME, fresh.id, removed + timedelta(microseconds=1))
    await cancel(places, ended(removed))
    assert await cancelled(places) == {old.id}
    assert await left(places) == {fresh.id, fresh_retry.id}


async def test_for_what_handlers_emitted_the_clocks_may_differ(places: Places) -> None:
    removed = datetime.now(UTC)
    old, unsure = await places.pending("task.old"), await places.pending("task.unsure")
    await places.pool.execute(TIME, old.id, removed - swept.CLOCKS_DIFFER)
    await places.pool.execute(TIME, unsure.id, removed - swept.CLOCKS_DIFFER + timedelta(microseconds=1))
    await cancel(places, ended(removed))
    assert await left(places) == {unsure.id}


async def test_a_backlog_is_gone_through_window_by_window(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("WINDOW", "BATCH"):
        monkeypatch.setattr(swept, size, 3)
    theirs = {(await places.pending()).id for _ in range(8)} | {
        (await places.scheduled()).id for _ in range(4)
    }
    others = {(await places.pending(shop=OTHER_SHOP)).id for _ in range(7)}
    assert await cancel(places, ended()) == "12 cancelled, 0 in somebody's hand"
    assert (await cancelled(places), await left(places)) == (theirs, others)


async def test_what_was_cancelled_can_be_done_all_the_same(places: Places) -> None:
    ready, retried = await places.pending(), await places.scheduled()
    await cancel(places, ended())
    for message in (ready, retried):
        await places.rush(message)
    assert await left(places) == {ready.id, retried.id}
    row = await places.pool.fetchrow("SELECT attempt, log FROM webhooks.outbox WHERE id = $1", retried.id)
    assert row is not None
    assert (row["attempt"], len(orjson.loads(row["log"]))) == (0, 2)


async def test_one_pass_at_a_time_takes_one_of_a_workers_places(places: Places) -> None:
    await places.pending()
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        inside.set()
        await go_on.wait()

    one = sweep(places, FaultPoints({"some cancelled, not all": hang}))
    first = asyncio.create_task(one.cancel(ended()))
    await inside.wait()
    with pytest.raises(Later, match="another shop"):
        await one.cancel(ended(shop=OTHER_SHOP))
    go_on.set()
    with pytest.raises(Later, match="1 cancelled"):
        await first


async def test_consumers_and_a_sweep_at_once_end_each_message_once(places: Places) -> None:
    """Whoever is first decides: what a consumer ended is not cancelled, and the other way round."""
    messages = [await places.pending() for _ in range(200)]

    async def work() -> None:
        for message in messages[::2]:
            ending = Ending(message, Lane.DEFAULT, "completed", "x", "postgres", datetime.now(UTC))
            async with places.pool.acquire() as conn:
                await end_store.end_one(conn, "worker", ending)

    await asyncio.gather(work(), cancel(places, ended()), cancel(places, ended()))
    assert await cancel(places, ended()) == ""
    assert await left(places) == set()
    assert await places.pool.fetchval("SELECT count(*) FROM worker.history") == 200
