"""What a backfill makes of answers that a sandbox does not give: real steps and tables, a scripted Shopify."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.outbox.faults import FaultPoints
from libs.common.shopify.admin.errors import Throttled, Unavailable
from services.worker import backfill_store, backfill_upkeep_store
from services.worker.backfill_bulk import BulkOperations, Operation
from services.worker.backfill_reading import Reader
from services.worker.backfill_steps import LOOKS_FOR_A_FILE, MOST_CANCELS, MOST_FAILURES, Pace, Steps
from services.worker.service import Books
from tests.session_tokens import SHOP

GID = "gid://shopify/BulkOperation/1"
Script = Operation | Exception | None


def operation(status: str, lines: int = 0, url: str | None = None) -> Operation:
    return Operation(GID, status, None, url, lines, datetime.now(UTC), "query")


@dataclass
class Shopify:
    """Says what it is told to."""

    looked: Script = None
    found: Script = None
    cancelled: Script = None
    told_to_stop: list[str] = field(default_factory=list)

    async def look(self, _: str, __: str) -> Operation | None:
        return _say(self.looked)

    async def find(self, _: str, __: str, ___: datetime) -> Operation | None:
        return _say(self.found)

    async def cancel(self, _: str, gid: str) -> None:
        self.told_to_stop.append(gid)
        _say(self.cancelled)


def _say(script: Script) -> Operation | None:
    if isinstance(script, Exception):
        raise script
    return script


@dataclass
class Job:
    """One job, whose steps the test takes."""

    pool: asyncpg.Pool
    shopify: Shopify
    steps: Steps
    id: UUID

    async def row(self) -> asyncpg.Record:
        found = await self.pool.fetchrow("SELECT * FROM worker.backfills WHERE id = $1", self.id)
        assert found is not None
        return found

    async def change(self, assignments: str) -> None:
        statement = f"UPDATE worker.backfills SET {assignments} WHERE id = $1"  # noqa: S608 - the test's own
        await self.pool.execute(statement, self.id)

    async def step(self) -> asyncpg.Record:
        """Takes the next one, whenever that is due; the row then."""
        await self.change("due_at = now()")
        async with self.pool.acquire() as conn:
            held = await backfill_store.claim(conn, "test", 60.0)
        assert held is not None
        await self.steps.take(held)
        async with self.pool.acquire() as conn:
            await backfill_store.release(conn, held)
        return await self.row()


@pytest.fixture
async def job(database: str) -> AsyncIterator[Job]:
    clock, shopify, identifier = SystemClock(), Shopify(), uuid4()
    async with asyncpg.create_pool(database, min_size=1, max_size=2) as pool:
        books = Books(pool, clock, 10.0, faults=FaultPoints())
        bulk, reader = cast("BulkOperations", shopify), cast("Reader", None)
        steps = Steps(bulk, reader, books, clock, FaultPoints(), Pace())
        async with pool.acquire() as conn:
            await backfill_store.add(conn, identifier, SHOP, "orders", datetime.now(UTC))
        one = Job(pool, shopify, steps, identifier)
        await one.change(f"status = 'running', operation = '{GID}', asked_at = now(), snapshot_at = now()")
        yield one


async def test_an_operation_without_objects_has_no_file_and_is_complete(job: Job) -> None:
    job.shopify.looked = operation("COMPLETED", lines=0)
    row = await job.step()
    assert (row["status"], row["reason"], row["lines"]) == ("completed", None, 0)


async def test_one_with_objects_is_not_complete_without_its_file(job: Job) -> None:
    job.shopify.looked = operation("COMPLETED", lines=5)
    rows = [await job.step() for _ in range(LOOKS_FOR_A_FILE)]
    assert {row["status"] for row in rows} == {"running"}
    assert "has not said yet where" in rows[-1]["reason"]
    row = await job.step()
    assert (row["status"], row["attempt"], row["operation"]) == ("waiting", 2, None)
    await job.change(f"status = 'running', operation = '{GID}'")
    await job.step()
    job.shopify.looked = operation("COMPLETED", lines=5, url="https://storage.googleapis.com/a")
    row = await job.step()
    assert (row["status"], row["file_lines"]) == ("reading", 5)


async def test_a_fault_of_ours_waits_longer_each_time_and_ends_the_job_at_last(job: Job) -> None:
    job.shopify.looked = RuntimeError("a bug")
    await job.step()
    row = await job.step()
    assert (row["failures"], row["reason"]) == (2, "a fault of ours, which is in the log")
    await job.change("failures = 8")
    row = await job.step()
    assert row["due_at"] > datetime.now(UTC) + timedelta(minutes=5)
    await job.change(f"failures = {MOST_FAILURES}")
    row = await job.step()
    assert (row["status"], row["ended_at"] is None) == ("failed", False)
    assert row["reason"].endswith("times in a row: a fault of ours, which is in the log")


async def test_how_long_a_job_may_be_held_up_counts_from_when_that_began(job: Job) -> None:
    await job.change("created_at = now() - interval '40 days'")
    job.shopify.looked = Throttled(3.0, "the shop's points are used up")
    first, second = await job.step(), await job.step()
    assert (second["status"], second["failures"]) == ("running", 0)
    assert first["stalled_at"] == second["stalled_at"] is not None
    job.shopify.looked = operation("RUNNING")
    assert (await job.step())["stalled_at"] is None
    job.shopify.looked = Throttled(3.0, "the shop's points are used up")
    await job.step()
    await job.change("stalled_at = now() - interval '31 days'")
    row = await job.step()
    assert (row["status"], row["reason"]) == ("failed", "for 30 days: the shop's points are used up")


async def test_a_job_stands_still_until_shopify_counts_on(job: Job) -> None:
    await job.change("moved_at = now() - interval '3 hours', file_lines = 7")
    job.shopify.looked = operation("RUNNING", lines=7)
    await job.step()
    job.shopify.looked = Throttled(3.0, "the shop's points are used up")
    await job.step()
    assert await still(job) >= 3 * 3600
    job.shopify.looked = operation("RUNNING", lines=8)
    await job.step()
    assert await still(job) < 3600


async def still(job: Job) -> float:
    async with job.pool.acquire() as conn:
        return await backfill_upkeep_store.still(conn)


IN_FLIGHT = "status = 'cancelling', operation = NULL, asked_at = now(), reason = 'cancelled on request'"
KNOWN = f"status = 'cancelling', operation = '{GID}', reason = 'cancelled on request'"


async def test_a_start_in_flight_is_cancelled_once_it_shows(job: Job) -> None:
    await job.change(IN_FLIGHT)
    row = await job.step()
    assert (row["status"], row["reason"]) == ("cancelling", "cancelled on request")
    assert row["due_at"] > datetime.now(UTC)
    job.shopify.found = operation("RUNNING")
    row = await job.step()
    assert (row["status"], row["reason"], job.shopify.told_to_stop) == (
        "cancelled", "cancelled on request", [GID],
    )  # fmt: skip


async def test_and_is_taken_for_none_where_it_does_not_show_in_time(job: Job) -> None:
    await job.change(IN_FLIGHT)
    await job.change("asked_at = now() - interval '46 seconds'")
    assert ((await job.step())["status"], job.shopify.told_to_stop) == ("cancelled", [])


async def test_shopify_is_told_to_stop_again_where_it_could_not_listen(job: Job) -> None:
    await job.change(KNOWN)
    job.shopify.cancelled = Throttled(3.0, "the shop's points are used up")
    row = await job.step()
    assert (row["status"], row["failures"], row["reason"]) == ("cancelling", 1, "cancelled on request")
    job.shopify.cancelled = None
    assert (await job.step())["status"] == "cancelled"
    assert job.shopify.told_to_stop == [GID, GID]


async def test_a_job_that_shopify_cannot_be_told_of_ends_all_the_same(job: Job) -> None:
    await job.change(KNOWN)
    job.shopify.cancelled = Unavailable("Shopify is away")
    rows = [await job.step() for _ in range(MOST_CANCELS)]
    assert [row["status"] for row in rows] == ["cancelling"] * (MOST_CANCELS - 1) + ["cancelled"]
    assert rows[-1]["reason"] == "cancelled on request"
