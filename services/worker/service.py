"""What the worker answers about messages, and how people put them back to work."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn
from uuid import UUID

import asyncpg

from libs.common.clock import Clock
from libs.common.contracts.topology import SOURCES, Lane
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import ShopbusError
from libs.common.outbox import end_store, list_store, look_store, put_store
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.list_store import LAST_ID, Place
from libs.common.outbox.wakes import Wake, channel
from services.worker import metrics
from services.worker.jobs import BadParameter, Filter, Status
from services.worker.jobs_page import Json, Page, Row, full_form, one_page

SCAN_DEPTH = 20_000  # rows of each place that one page looks through
COUNT_SECONDS = 30.0  # counting reads whole tables, so it may take longer than other statements
BATCH = 200  # messages replayed in one transaction
BUDGET_SECONDS = 5.0  # after which a replay by filter answers how far it came

WALKS = {
    None: (list_store.EVERYWHERE,),
    Status.PENDING: (list_store.READY, list_store.SCHEDULED),
    Status.QUEUED: (list_store.QUEUED,),
    Status.PROCESSING: (list_store.PROCESSING,),
    Status.FAILED: (list_store.FAILED,),
    Status.COMPLETED: (list_store.HISTORY,),
}

# Where a replay takes messages from. Of those that are pending only the scheduled ones wait for anything.
REPLAYABLE = {
    Status.FAILED: (list_store.FAILED,),
    Status.COMPLETED: (list_store.HISTORY,),
    Status.PENDING: (list_store.SCHEDULED,),
}


class NoSuchJob(ShopbusError):
    """There is no such message, or its time is over."""


class JobBusy(ShopbusError):
    """The message is on its way already; only one that failed, ended or waits can be put back to work."""


class PayloadGone(ShopbusError):
    """The message's payload has been deleted; there is nothing left to work on."""


@dataclass(frozen=True, slots=True)
class Books:
    """Where one consumer's messages are looked up."""

    pool: asyncpg.Pool
    clock: Clock
    timeout: float
    consumer: str = "worker"
    sources: Sequence[str] = SOURCES
    faults: FaultPoints = field(default_factory=FaultPoints)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        """A connection; whatever Postgres' absence does to it becomes `DatabaseAway`."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                yield conn

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """One unchanging view for several statements."""
        async with self.open() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            yield conn


@dataclass(frozen=True, slots=True)
class Progress:
    """How many messages a replay met (or would), and where it goes on if it had to stop."""

    messages: int
    next: UUID | None


async def show(books: Books, message_id: UUID) -> Json:
    """One message with its story; raises `NoSuchJob`."""
    async with books.open() as conn:
        found = await _look(conn, books, message_id)
    if found is None:
        raise NoSuchJob
    return full_form(found)


async def page(books: Books, wanted: Filter, before: UUID, limit: int) -> Page:
    """Messages that match, newest first. A page may be short, even empty; the list ends where there is no next."""
    return await _page(books, WALKS[wanted.status], wanted, before, limit)


async def retry(books: Books, message_id: UUID) -> None:
    """Puts one message back to work; raises `NoSuchJob`, `JobBusy` or `PayloadGone`, changing nothing."""
    async with books.open() as conn:
        found = await _look(conn, books, message_id)
        if found is None:
            raise NoSuchJob
        source = found["source"]
        if not await look_store.kept(conn, source, [message_id]):
            raise PayloadGone
        if not await _replay(conn, books, source, [message_id]):
            await _refuse(conn, books, message_id)
    metrics.REPLAYED.labels("one").inc()


async def count(books: Books, wanted: Filter, before: UUID = LAST_ID, *, most: int) -> Progress:
    """How many messages `retry_many` would put back to work, as far as that can be counted in its time."""
    return await _through(books, wanted, before, most, replaying=False)


async def retry_many(books: Books, wanted: Filter, before: UUID = LAST_ID, *, most: int) -> Progress:
    """Puts messages that match back to work, the newest first, for a few seconds at most."""
    progress = await _through(books, wanted, before, most, replaying=True)
    metrics.REPLAYED.labels("many").inc(progress.messages)
    return progress


async def stats(books: Books) -> Json:
    """How many messages stand where, all in one snapshot, so that what was accepted is the sum of its places."""
    async with books.snapshot() as conn:
        counts = [
            await look_store.count_source(conn, source, books.consumer, seconds=COUNT_SECONDS)
            for source in books.sources
        ]
        ends = await look_store.count_consumer(conn, books.consumer, books.sources, seconds=COUNT_SECONDS)
    summed = ("accepted", "duplicates", "pending", "queued", "processing")
    total = {name: sum(row[name] for row in counts) for name in summed}
    return {
        **total,
        "pending": total["pending"] + ends["scheduled"],
        **{name: ends[name] for name in ("scheduled", "completed", "failed", "unhandled")},
        "routes": {name: ends[name] for name in ("rabbitmq", "postgres")},
        "oldest_pending_age_seconds": max(row["oldest_pending_age_seconds"] for row in counts),
    }


async def _look(conn: Connection, books: Books, message_id: UUID) -> Row | None:
    for source in books.sources:
        (found,) = await look_store.look(conn, source, books.consumer, [message_id])
        if found["status"] is not None:
            return found
    return None


async def _refuse(conn: Connection, books: Books, message_id: UUID) -> NoReturn:
    """Says why a message cannot be put back to work; it may have moved since it was looked up."""
    found = await _look(conn, books, message_id)
    if found is None:
        raise NoSuchJob
    raise JobBusy(f"the message is {found['status']} right now; it needs no push")


async def _page(books: Books, places: Sequence[Place], wanted: Filter, before: UUID, limit: int) -> Page:
    window = wanted.window(before)
    async with books.snapshot() as conn:
        walks = [
            await list_store.walk(conn, place, source, books.consumer, window, limit=limit, depth=SCAN_DEPTH)
            for place in places
            for source in (books.sources[:1] if place.mixed else books.sources)
        ]
    return one_page(walks, limit)


async def _through(books: Books, wanted: Filter, before: UUID, most: int, *, replaying: bool) -> Progress:
    """Page after page, until there is no more, or enough, or the time is over."""
    places = REPLAYABLE.get(wanted.status or Status.FAILED)
    if places is None:
        raise BadParameter("status", f"one of {', '.join(REPLAYABLE)}: the others are being worked on")
    stop, messages, position = books.clock.monotonic() + BUDGET_SECONDS, 0, before
    while True:
        found = await _page(books, places, wanted, position, min(BATCH, most - messages))
        messages += await _replay_all(books, found.rows) if replaying else len(found.rows)
        if found.next is None or messages >= most or books.clock.monotonic() >= stop:
            return Progress(messages, found.next)
        position = found.next


async def _replay_all(books: Books, rows: Sequence[Row]) -> int:
    by_source: dict[str, list[UUID]] = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row["id"])
    replayed = 0
    async with books.open() as conn:
        for source, ids in by_source.items():
            kept = await look_store.kept(conn, source, ids)
            replayed += await _replay(conn, books, source, sorted(kept))
    return replayed


async def _replay(conn: Connection, books: Books, source: str, ids: Sequence[UUID]) -> int:
    """One transaction, wake-ups included: unlike an accepted webhook, a replay can afford a NOTIFY in its commit."""
    first: dict[Lane, UUID] = {}
    replayed = 0
    async with conn.transaction():
        for message_id in ids:
            if lane := await end_store.replay(conn, source, books.consumer, message_id):
                first[lane] = min(message_id, first.get(lane, message_id))
                replayed += 1
        wakes = [Wake(source, lane, message_id).payload() for lane, message_id in first.items()]
        await put_store.notify(conn, [(channel(books.consumer), wake) for wake in wakes])
    if replayed:
        await books.faults.reach("replayed, not answered")
    return replayed
