"""Every way from one place to another is taken exactly once, however many try, and loses nothing on the way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection, connection
from libs.common.ids import IdFactory, made_at
from libs.common.outbox import claim_store, end_store
from libs.common.outbox.claim_store import ClaimPlan
from libs.common.outbox.end_store import Attempt, Ending
from libs.common.runtime.endings import told
from tests.integration.protocol import LONG, System, system

CALLERS = 20
MOMENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLACES = """
SELECT 'outbox' AS place, id FROM webhooks.outbox UNION ALL SELECT 'scheduled', message_id FROM worker.scheduled
UNION ALL SELECT 'failed', message_id FROM worker.failed UNION ALL SELECT 'history', message_id FROM worker.history
"""


@dataclass
class Moves:
    """Each way to move one message, as a call on a connection that says whether it did."""

    message: Message

    @property
    def ending(self) -> Ending:
        return Ending(self.message, Lane.DEFAULT, "completed", "tested.keep", "postgres", MOMENT)

    async def end_one(self, conn: Connection) -> bool:
        return await end_store.end_one(conn, "worker", self.ending)

    async def end_many(self, conn: Connection) -> bool:
        return self.message.id in await end_store.end_many(conn, "worker", [self.ending])

    async def schedule(self, conn: Connection, **how: Any) -> bool:
        usual = {"delay_seconds": 3_600.0, "reason": "retry", "attempt": attempt(), "counted": True}
        return await end_store.schedule(conn, "worker", self.message, Lane.DEFAULT, **{**usual, **how})

    async def fail(self, conn: Connection) -> bool:
        return await end_store.fail(
            conn, "worker", self.message, Lane.DEFAULT, reason="exhausted", attempt=attempt("the last straw")
        )

    def at(self, attempt: int) -> "Moves":
        """The same, by somebody who was brought the message for this attempt."""
        return Moves(replace(self.message, attempt=attempt))

    async def replay(self, conn: Connection) -> bool:
        return await end_store.replay(conn, "webhooks", "worker", self.message.id) is not None

    async def move_due(self, conn: Connection) -> bool:
        plan = ClaimPlan("worker", "worker:a", LONG)
        moved = await claim_store.move_due(conn, "webhooks", plan, list(Lane), 10)
        return self.message.id in {row.message.id for row in moved}


Move = Callable[[Moves, Connection], Awaitable[bool]]
OUT_OF_OUTBOX: dict[str, Move] = {
    "history": Moves.end_one,
    "history together": Moves.end_many,
    "scheduled": Moves.schedule,
    "failed": Moves.fail,
}


def attempt(error: str = "ValueError: no") -> Attempt:
    return Attempt(MOMENT, MOMENT, error, "postgres")


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database) as ready:
        yield ready


async def accepted(one: System) -> Moves:
    identifier = await one.accept("webhook.test", shop="a.myshopify.com")
    return moves_of(identifier)


def moves_of(identifier: UUID) -> Moves:
    return Moves(Message(identifier, "webhook.test", "webhooks", "a.myshopify.com", MOMENT, b"{}"))


async def once(one: System, move: Callable[[Connection], Awaitable[bool]]) -> bool:
    async with connection(one.pool, LONG) as conn:
        return await move(conn)


async def places(one: System) -> Counter[str]:
    return Counter(row["place"] for row in await one.pool.fetch(PLACES))


async def log(one: System, table: str) -> list[dict[str, Any]]:
    statements = {name: f"SELECT log::text FROM worker.{name}" for name in ("scheduled", "failed", "history")}  # noqa: S608 - names of ours
    entries: list[dict[str, Any]] = orjson.loads(await one.pool.fetchval(statements[table]))
    return entries


@pytest.mark.parametrize("way", OUT_OF_OUTBOX)
async def test_a_message_leaves_the_outbox_once_however_many_take_it_out(one: System, way: str) -> None:
    moves = await accepted(one)
    results = await asyncio.gather(*(once(one, partial(OUT_OF_OUTBOX[way], moves)) for _ in range(CALLERS)))
    assert sorted(results) == [False] * (CALLERS - 1) + [True]
    assert await places(one) == {way.split(maxsplit=1)[0]: 1}


@pytest.mark.parametrize("way", ["scheduled", "failed"])
async def test_a_copy_from_before_the_last_attempt_moves_nothing(one: System, way: str) -> None:
    """It was tried and came back while the copy was on its way: only who knows the row's attempt may fail it."""
    stale = await accepted(one)
    await one.pool.execute("UPDATE webhooks.outbox SET attempt = 1")
    row = await one.row(stale.message.id)
    assert not await once(one, partial(OUT_OF_OUTBOX[way], stale))
    assert await one.row(stale.message.id) == row
    assert await once(one, partial(OUT_OF_OUTBOX[way], stale.at(2)))
    assert await places(one) == {way: 1}


@pytest.mark.parametrize("way", OUT_OF_OUTBOX)
async def test_where_there_is_no_row_nothing_is_written(one: System, way: str) -> None:
    nobody = moves_of(IdFactory(SystemClock()).new())
    assert not await once(one, partial(OUT_OF_OUTBOX[way], nobody))
    assert await places(one) == {}


async def test_rivals_with_different_ends_in_mind_find_one_winner_per_message(one: System) -> None:
    several = [await accepted(one) for _ in range(30)]
    rivals = [once(one, partial(move, moves)) for moves in several for move in OUT_OF_OUTBOX.values()]
    won = await asyncio.gather(*rivals)
    assert sum(won) == 30
    found = await one.pool.fetch(PLACES)
    assert Counter(row["id"] for row in found) == Counter(moves.message.id for moves in several)


@pytest.mark.parametrize("way", ["failed", "history", "scheduled"])
async def test_a_replay_brings_a_message_back_once(one: System, way: str) -> None:
    moves = await accepted(one)
    await once(one, partial(OUT_OF_OUTBOX[way], moves))
    results = await asyncio.gather(*(once(one, moves.replay) for _ in range(CALLERS)))
    assert sum(results) == 1
    assert await places(one) == {"outbox": 1}
    assert not await once(one, moves.replay)  # it is back already


async def test_a_due_message_that_is_replayed_in_that_moment_comes_back_once(one: System) -> None:
    several = [await accepted(one) for _ in range(20)]
    for moves in several:
        await once(one, partial(moves.schedule, delay_seconds=0.0))
    ways = [once(one, way) for moves in several for way in (moves.replay, moves.move_due)]
    await asyncio.gather(*ways)
    assert await places(one) == {"outbox": 20}


async def test_every_attempt_is_kept_on_the_way_and_counted_at_the_end(one: System) -> None:
    moves = await accepted(one)
    for number in (1, 2, 3):
        failure = attempt(f"error {number}")
        await once(one, partial(moves.at(number).schedule, attempt=failure, delay_seconds=0.0))
        await once(one, moves.move_due)
    await once(one, moves.end_one)
    history = (await one.history())[moves.message.id]
    assert history["attempts"] == 4
    assert [entry["error"] for entry in await log(one, "history")] == ["error 1", "error 2", "error 3"]
    assert (history["source"], history["type"], history["shop"]) == (
        "webhooks",
        "webhook.test",
        "a.myshopify.com",
    )
    assert history["created_at"] == made_at(moves.message.id)


async def test_a_delay_that_was_asked_for_is_kept_but_uses_no_retry(one: System) -> None:
    moves = await accepted(one)
    await once(one, partial(moves.schedule, reason="later", counted=False, delay_seconds=0.0))
    async with connection(one.pool, LONG) as conn:
        plan = ClaimPlan("worker", "worker:a", LONG)
        [claimed] = await claim_store.move_due(conn, "webhooks", plan, list(Lane), 10)
    assert claimed.message.attempt == 1
    await once(one, moves.end_one)
    assert len(await log(one, "history")) == 1


async def test_waiting_for_a_place_leaves_no_trace_in_the_log(one: System) -> None:
    moves = await accepted(one)
    await once(one, partial(moves.schedule, reason="busy", attempt=None, counted=False, delay_seconds=0.0))
    await once(one, moves.move_due)
    await once(one, moves.end_one)
    history = (await one.history())[moves.message.id]
    assert (history["attempts"], history["log"]) == (1, None)


async def test_a_log_keeps_the_newest_attempts_and_does_not_grow_for_ever(one: System) -> None:
    moves = await accepted(one)
    for number in range(110):
        failure = attempt(f"error {number}")
        await once(one, partial(moves.at(number + 1).schedule, attempt=failure, delay_seconds=0.0))
        await once(one, moves.move_due)
    await once(one, moves.at(111).schedule)
    entries = await log(one, "scheduled")
    assert len(entries) == end_store._LOGGED_ATTEMPTS
    assert [entry["error"] for entry in entries[-2:]] == ["error 109", "ValueError: no"]
    assert await one.pool.fetchval("SELECT attempt FROM worker.scheduled") == 111


async def test_what_failed_says_why_and_keeps_all_attempts(one: System) -> None:
    moves = await accepted(one)
    await once(one, partial(moves.schedule, delay_seconds=0.0))
    await once(one, moves.move_due)
    await once(one, moves.at(2).fail)
    failed = (await one.failed())[moves.message.id]
    assert (failed["reason"], failed["error"], failed["attempts"]) == ("exhausted", "the last straw", 2)
    assert [entry["error"] for entry in await log(one, "failed")] == ["ValueError: no", "the last straw"]


async def test_a_replayed_message_has_all_its_retries_again_and_its_whole_past(one: System) -> None:
    moves = await accepted(one)
    await once(one, moves.fail)
    await once(one, moves.replay)
    await once(one, moves.end_one)
    await once(one, moves.replay)
    row = await one.row(moves.message.id)
    assert row is not None
    assert (row["attempt"], row["deliveries"], row["holder"]) == (0, 0, None)
    past = orjson.loads(row["log"])
    assert [entry["error"] for entry in past] == ["the last straw", None]
    assert past[1]["outcome"] == "completed"


async def test_an_emitted_messages_delay_moves_it_to_scheduled_with_the_rest(one: System) -> None:
    identifier = await one.accept(delay=3_600.0)
    assert await places(one) == {"scheduled": 1}
    assert await once(one, moves_of(identifier).replay)
    assert await places(one) == {"outbox": 1}


@pytest.mark.parametrize("words", ["nul \x00 inside", "lone \ud800 surrogate", "x" * 10_000, ""])
async def test_any_error_can_be_told(one: System, words: str) -> None:
    moves = await accepted(one)
    failure = attempt(told(ValueError(words)))
    assert await once(one, partial(moves.schedule, attempt=failure))
    [entry] = await log(one, "scheduled")
    assert entry["error"].startswith("ValueError: ")
    assert len(entry["error"]) <= 2_000


async def test_many_end_in_one_statement_and_the_gone_among_them_are_told(one: System) -> None:
    several = [await accepted(one) for _ in range(5)]
    await once(one, several[2].end_one)
    async with connection(one.pool, LONG) as conn:
        live = await end_store.end_many(conn, "worker", [moves.ending for moves in several])
    assert live == {moves.message.id for moves in several} - {several[2].message.id}
    assert await places(one) == {"history": 5}


async def test_overlapping_batches_do_not_block_each_other_and_end_each_message_once(one: System) -> None:
    several = [await accepted(one) for _ in range(60)]

    async def end(which: list[Moves]) -> set[UUID]:
        async with connection(one.pool, LONG) as conn:
            return await end_store.end_many(conn, "worker", [moves.ending for moves in which])

    batches = [several[start : start + 40] for start in (0, 10, 20)] + [several[::-1]]
    ended = await asyncio.gather(*(end(batch) for batch in batches for _ in range(3)))
    assert Counter(identifier for batch in ended for identifier in batch) == Counter(
        m.message.id for m in several
    )
