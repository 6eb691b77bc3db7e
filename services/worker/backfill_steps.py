"""The next step of a backfill, whatever it is, and what becomes of it where that fails.

    waiting      Shopify is asked for a bulk operation           → running
    running      it is looked at until it has ended              → reading
    reading      its file is taken in                            → completed
    cancelling   Shopify is told to stop                         → cancelled

Each ends in one statement that names the holder of the job. A step that was broken off is done again; only asking is
not harmless then, so it is noted before, and whoever comes next looks first whether Shopify has begun.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.common import logs
from libs.common.clock import Clock
from libs.common.errors import DatabaseAway
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime.outcomes import Cancelled, Later, Never
from libs.common.shopify.admin.errors import AdminError, OutcomeUnknown
from services.worker import backfill_store, metrics
from services.worker.backfill_bulk import BulkOperations, Busy, Operation
from services.worker.backfill_files import FileAway, FileGone, WrongHost
from services.worker.backfill_lines import BadFile
from services.worker.backfill_queries import RESOURCES, operation_name
from services.worker.backfill_reading import Lost, Reader
from services.worker.backfill_room import Behind
from services.worker.backfill_store import Backfill
from services.worker.service import Books

MOST_ATTEMPTS = 3  # bulk operations for one job
LOOKS_FOR_A_FILE = 8  # of an operation that is complete
MOST_CANCELS = 8  # some minutes
MOST_FAILURES = 120  # in a row; the waits between them are most of a day
LONGEST_WAIT = timedelta(days=30)  # for a shop that is frozen, locked or has to authorise the app again

_log = logs.logger("worker")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, of a lease and between steps."""

    lease: float = 15.0  # after which another process takes over who died
    idle: float = 1.0  # between two looks for a job that is due
    first_look: float = 2.0  # at an operation that has begun; later ones after a tenth of its age
    last_look: float = 60.0
    settled: float = 45.0  # after which a start whose answer was lost shows in the shop's list
    busy: float = 60.0  # where Shopify runs as many as it does at once
    behind: float = 10.0  # between two looks whether handlers that are stuck have come further
    restart: float = (
        30.0  # before another operation, after one that came to nothing; the next wait is twice that
    )
    first_retry: float = 1.0  # doubled up to the last
    last_retry: float = 600.0

    def look(self, age: float) -> float:
        return min(self.last_look, max(self.first_look, age / 10))

    def retry(self, failures: int) -> float:
        return min(self.last_retry, self.first_retry * 2.0 ** min(failures, 20))


@dataclass(frozen=True, slots=True)
class Steps:
    """Takes steps for every job of a process."""

    bulk: BulkOperations
    reader: Reader
    books: Books
    clock: Clock
    faults: FaultPoints
    pace: Pace = field(default_factory=Pace)

    async def take(self, held: Backfill) -> None:
        """One step; raises `DatabaseAway` where it has to be taken again."""
        try:
            await self._step(held)
        except Lost:
            _log.info("A backfill is somebody else's now.", backfill=str(held.id))
        except Cancelled:  # the token client's
            await self._end(held, "cancelled", "the app is not installed on this shop")
        except Behind as error:
            await self._stand(held, str(error))
        except Later as error:
            await self._postpone(held, error)
        except (Never, BadFile, WrongHost) as error:
            await self._end(held, "failed", str(error))
        except (AdminError, FileAway) as error:
            await self._fail(held, str(error))
        except DatabaseAway:
            raise
        except Exception:  # noqa: BLE001 - one job's fault, which the others do not share
            _log.exception("A step of a backfill failed.", backfill=str(held.id), shop=held.shop)
            await self._fail(held, "a fault of ours, which is in the log", "unforeseen")

    async def _step(self, held: Backfill) -> None:
        match held.status:
            case "waiting":
                await self._begin(held)
            case "running":
                await self._watch(held)
            case "reading":
                await self._read(held)
            case _:
                await self._cancel(held)

    async def _begin(self, held: Backfill) -> None:
        if held.asked_at is not None:
            if (left := self._unsettled(held.asked_at)) > 0:
                await self._wait(held, "whether Shopify has begun will show", left)
                return
            if (found := await self._find(held, held.asked_at)) is not None:
                await self._begun(held, found)
                return
        async with self.books.open() as conn:
            if await backfill_store.ask(conn, held) is None:
                raise Lost
        try:
            started = await self.bulk.start(held.shop, self._query(held))
        except Busy as error:
            async with self.books.open() as conn:
                await backfill_store.unask(conn, held, str(error), self.pace.busy)
            return
        except OutcomeUnknown:
            await self._wait(held, "the answer to the start was lost", self.pace.settled)
            return
        await self.faults.reach("bulk operation begun, not kept")
        await self._begun(held, started)

    def _unsettled(self, asked_at: datetime) -> float:
        return self.pace.settled - (self.clock.now() - asked_at).total_seconds()

    async def _find(self, held: Backfill, asked_at: datetime) -> Operation | None:
        return await self.bulk.find(held.shop, operation_name(held.id, held.attempt), asked_at)

    def _query(self, held: Backfill) -> str:
        return RESOURCES[held.resource].query(operation_name(held.id, held.attempt), held.since)

    async def _begun(self, held: Backfill, operation: Operation) -> None:
        _log.info(
            "Shopify works on a backfill.", backfill=str(held.id), shop=held.shop, operation=operation.gid
        )
        async with self.books.open() as conn:
            await backfill_store.begin(conn, held, operation.gid, operation.created_at, self.pace.first_look)

    async def _watch(self, held: Backfill) -> None:
        operation = await self._look(held)
        match operation.status if operation else None:
            case "CREATED" | "RUNNING" | "CANCELING":
                assert operation is not None  # noqa: S101 - it has a status
                age = (self.clock.now() - operation.created_at).total_seconds()
                async with self.books.open() as conn:
                    await backfill_store.watch(conn, held, operation.lines, self.pace.look(age))
            case "COMPLETED":
                assert operation is not None  # noqa: S101 - it has a status
                await self._ready(held, operation)
            case "CANCELED":
                await self._end(held, "cancelled", "the bulk operation was cancelled at Shopify")
            case "FAILED" if operation and operation.error == "ACCESS_DENIED":
                await self._end(held, "failed", f"the app may not read this shop's {held.resource}")
            case status:
                code = operation.error if operation and operation.error else (status or "forgotten")
                await self._begin_again(held, f"the bulk operation came to nothing: {code.lower()}")

    async def _ready(self, held: Backfill, operation: Operation) -> None:
        if operation.url is not None:
            async with self.books.open() as conn:
                await backfill_store.read(conn, held, operation.lines)
        elif operation.lines == 0:
            await self._end(held, "completed", None)
        elif held.failures < LOOKS_FOR_A_FILE:
            await self._fail(held, f"Shopify has not said yet where the file of {operation.lines} objects is")
        else:
            await self._begin_again(held, "Shopify does not say where the file is")

    async def _read(self, held: Backfill) -> None:
        """Shopify is not asked, and nothing more is put, while the handlers have enough to do."""
        await self.reader.room.check(held)
        operation = await self._look(held)
        if operation is None or operation.status != "COMPLETED" or operation.url is None:
            await self._begin_again(held, "Shopify does not have the file any more")
            return
        try:
            await self.reader.read(held, operation.url)
        except FileGone as error:
            await self._begin_again(held, str(error))
            return
        await self._end(held, "completed", await self._difference(held, operation))

    async def _difference(self, held: Backfill, operation: Operation) -> str | None:
        """What the file lacks or has too much; HTTP says by itself where a file was cut off."""
        async with self.books.open() as conn:
            now = await backfill_store.one(conn, held.id)
        if now is None or now.lines == operation.lines:
            return None
        return f"Shopify told of {operation.lines} objects, and its file has {now.lines} lines"

    async def _look(self, held: Backfill) -> Operation | None:
        assert held.operation is not None  # noqa: S101 - kept when it began
        return await self.bulk.look(held.shop, held.operation)

    async def _cancel(self, held: Backfill) -> None:
        """Ends the job once Shopify was told to stop, or could not be told at several attempts."""
        failures = held.failures
        try:
            seconds = await self._stop(held)
        except Cancelled:
            seconds = 0.0  # the app is gone, and its operations with it
        except (AdminError, Later) as error:
            failures += 1
            is_over = isinstance(error, Never) or failures >= MOST_CANCELS
            seconds = 0.0 if is_over else self.pace.retry(failures)
            _log.warning(
                "A cancelled backfill's bulk operation may go on at Shopify.", backfill=str(held.id),
                shop=held.shop, error=str(error),
            )  # fmt: skip
        if seconds > 0:
            async with self.books.open() as conn:
                await backfill_store.wait(conn, held, held.reason, seconds, failures)
            return
        await self._end(held, "cancelled", held.reason)

    async def _stop(self, held: Backfill) -> float:
        """Seconds until an operation will show that may have begun; 0 where none has, or it was told to stop."""
        gid = held.operation
        if gid is None and held.asked_at is not None:
            found = await self._find(held, held.asked_at)
            if found is None:
                return self._unsettled(held.asked_at)
            gid = found.gid
        if gid is not None:
            await self.bulk.cancel(held.shop, gid)
        return 0.0

    async def _begin_again(self, held: Backfill, reason: str) -> None:
        if held.attempt >= MOST_ATTEMPTS:
            await self._end(held, "failed", f"{reason}, at {MOST_ATTEMPTS} attempts")
            return
        metrics.BACKFILL_RESTARTS.inc()
        _log.warning("A backfill begins again.", backfill=str(held.id), shop=held.shop, reason=reason)
        async with self.books.open() as conn:
            await backfill_store.again(conn, held, reason, held.attempt * self.pace.restart)

    async def _postpone(self, held: Backfill, error: Later) -> None:
        now = await self._as_it_is(held)
        if now.stalled_at is not None and self.clock.now() - now.stalled_at > LONGEST_WAIT:
            await self._end(held, "failed", f"for {LONGEST_WAIT.days} days: {error}")
            return
        async with self.books.open() as conn:
            await backfill_store.wait(conn, held, str(error), error.seconds, now.failures)

    async def _fail(self, held: Backfill, why: str, kind: str | None = None) -> None:
        failures = (await self._as_it_is(held)).failures + 1
        metrics.BACKFILL_FAILURES.labels(kind or held.status).inc()
        if failures > MOST_FAILURES:
            await self._end(held, "failed", f"{MOST_FAILURES} times in a row: {why}")
            return
        async with self.books.open() as conn:
            await backfill_store.wait(conn, held, why, self.pace.retry(failures), failures)

    async def _as_it_is(self, held: Backfill) -> Backfill:
        """Reading may have come further before it failed."""
        async with self.books.open() as conn:
            return await backfill_store.one(conn, held.id) or held

    async def _stand(self, held: Backfill, why: str) -> None:
        async with self.books.open() as conn:
            await backfill_store.stand(conn, held, why, self.pace.behind)

    async def _wait(self, held: Backfill, reason: str, seconds: float) -> None:
        async with self.books.open() as conn:
            await backfill_store.wait(conn, held, reason, seconds, held.failures)

    async def _end(self, held: Backfill, status: str, reason: str | None) -> None:
        async with self.books.open() as conn:
            if not await backfill_store.end(conn, held, status, reason):
                return
        metrics.BACKFILL_ENDED.labels(held.resource, status).inc()
        _log.info(
            "A backfill has ended.", backfill=str(held.id), shop=held.shop, status=status, reason=reason
        )
