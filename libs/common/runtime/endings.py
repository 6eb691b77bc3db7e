"""Makes what became of a message permanent: ended, later, or given up. Each move is one transaction."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.envelope import InvalidBody
from libs.common.db import connection, interrupts, is_away
from libs.common.errors import DatabaseAway
from libs.common.outbox import end_store
from libs.common.outbox.end_store import Attempt, Ending
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.group_commit import GroupCommit
from libs.common.runtime import metrics
from libs.common.runtime.backoff import spread, wait_after
from libs.common.runtime.handlers import Handler
from libs.common.runtime.outcomes import Cancelled, HandlerTimeout, Later, Never
from libs.common.runtime.work import Delivery

_log = structlog.get_logger(__name__)
_ERROR_CHARACTERS = 2_000


class Result(StrEnum):
    """How a delivery left the consumer's hand."""

    COMPLETED = "completed"
    UNHANDLED = "unhandled"
    CANCELLED = "cancelled"  # the work had lost its point
    DUPLICATE = "duplicate"  # its row was gone
    RETRY = "retry"
    LATER = "later"
    BUSY = "busy"  # its shop's slots were taken
    FAILED = "failed"
    RELEASED = (
        "released"  # there was no connection to Postgres to be had, or we are stopping: nothing happened
    )
    INTERRUPTED = (
        "interrupted"  # Postgres broke off, or was full: no attempt is used up, but the delivery counts
    )


class Endings:
    """Every way out of a consumer's hand but a handler's own transaction.

    Where Postgres is away: RELEASED or INTERRUPTED.
    """

    def __init__(
        self,
        consumer: str,
        pool: asyncpg.Pool,
        clock: Clock,
        *,
        acquire_seconds: float,
        scheduled: Callable[[float], None],
        faults: FaultPoints,
    ) -> None:
        self.consumer = consumer
        self._pool, self._clock = pool, clock
        self._acquire_seconds = acquire_seconds
        self._scheduled = scheduled
        self._faults = faults
        self._ends: GroupCommit[Ending, bool] = GroupCommit(self._end_together, size=lambda _: 1)

    def ending(
        self, handler: Handler | None, delivery: Delivery, result: Result = Result.COMPLETED
    ) -> Ending:
        """What history will say."""
        started = delivery.started_at or self._clock.now()
        name = None if handler is None else handler.name
        return Ending(delivery.message, delivery.lane, result.value, name, delivery.route, started)

    async def plain(self, handler: Handler | None, delivery: Delivery, result: Result) -> Result:
        """Ends a message without writes of its handler's; many such ends share a commit."""
        try:
            live = await self._ends.submit(self.ending(handler, delivery, result))
        except Exception as error:  # noqa: BLE001 - raised again unless Postgres is away
            return _released(error)
        return result if live else Result.DUPLICATE

    async def judge(self, handler: Handler, delivery: Delivery, error: Exception) -> Result:
        """What a handler's error means for its message."""
        attempt = self._attempt(delivery, error)
        if isinstance(error, Later):
            return await self._later(delivery, error.seconds, attempt, result=Result.LATER)
        if isinstance(error, Cancelled):
            return await self._cancel(handler, delivery, attempt)
        if isinstance(error, (Never, InvalidBody)):
            return await self._give_up(handler, delivery, "never", attempt)
        if delivery.message.attempt > handler.retries:
            return await self._give_up(handler, delivery, "exhausted", attempt)
        return await self._later(delivery, wait_after(delivery.message.attempt), attempt, result=Result.RETRY)

    async def park(self, delivery: Delivery, seconds: float) -> Result:
        """Puts a message aside for a while, because its shop has enough of its kind running and waiting."""
        return await self._later(delivery, spread(seconds), None, result=Result.BUSY)

    async def poisoned(self, handler: Handler | None, delivery: Delivery) -> Result:
        """Gives up a message whose holders vanished too often."""
        attempt = self._attempt(delivery, Never("every start of it ended with its worker, or with Postgres"))
        return await self._give_up(handler, delivery, "poison", attempt)

    async def _later(
        self, delivery: Delivery, seconds: float, attempt: Attempt | None, *, result: Result
    ) -> Result:
        await self._faults.reach("judged, not scheduled")
        try:
            async with connection(self._pool, self._acquire_seconds) as conn:
                moved = await end_store.schedule(
                    conn, self.consumer, delivery.message, delivery.lane, delay_seconds=seconds,
                    reason=result.value, attempt=attempt, counted=result is Result.RETRY,
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - raised again unless Postgres is away
            return _released(error)
        await self._faults.reach("scheduled, not acknowledged")
        self._scheduled(seconds)
        return result if moved else Result.DUPLICATE

    async def _cancel(self, handler: Handler, delivery: Delivery, attempt: Attempt) -> Result:
        ending = self.ending(handler, delivery, Result.CANCELLED)
        await self._faults.reach("handler done, not committed")
        try:
            async with connection(self._pool, self._acquire_seconds) as conn:
                moved = await end_store.cancel(conn, self.consumer, ending, attempt)
        except Exception as error:  # noqa: BLE001 - raised again unless Postgres is away
            return _released(error)
        return Result.CANCELLED if moved else Result.DUPLICATE

    async def _give_up(
        self, handler: Handler | None, delivery: Delivery, reason: str, attempt: Attempt
    ) -> Result:
        await self._faults.reach("judged, not given up")
        try:
            async with connection(self._pool, self._acquire_seconds) as conn:
                moved = await end_store.fail(
                    conn, self.consumer, delivery.message, delivery.lane, reason=reason, attempt=attempt
                )
        except Exception as error:  # noqa: BLE001 - raised again unless Postgres is away
            return _released(error)
        await self._faults.reach("given up, not acknowledged")
        if moved:
            metrics.FAILED.labels(handler.name if handler else "none", reason).inc()
            _log.error(
                "A message was given up.", message_id=str(delivery.message.id), type=delivery.message.type,
                shop=delivery.message.shop, reason=reason, error=attempt.error,
            )  # fmt: skip
        return Result.FAILED if moved else Result.DUPLICATE

    async def _end_together(self, endings: Sequence[Ending]) -> list[bool]:
        groups: dict[tuple[str, str], list[Ending]] = {}
        for ending in endings:
            groups.setdefault((ending.message.source, ending.lane.value), []).append(ending)
        live: set[UUID] = set()
        await self._faults.reach("handler done, not committed")
        async with connection(self._pool, self._acquire_seconds) as conn:
            for group in groups.values():
                live |= await end_store.end_many(conn, self.consumer, group)
        return [ending.message.id in live for ending in endings]

    def _attempt(self, delivery: Delivery, error: Exception) -> Attempt:
        now = self._clock.now()
        return Attempt(delivery.started_at or now, now, told(error), delivery.route)


def _released(error: Exception) -> Result:
    if not is_away(error):
        raise error
    return given_back(error)


def given_back(error: Exception) -> Result:
    """What the absence of Postgres means for a message: only a statement that was broken off may be to blame for it."""
    return (
        Result.INTERRUPTED if interrupts(error) and not isinstance(error, DatabaseAway) else Result.RELEASED
    )


def told(error: BaseException) -> str:
    """An error in words that Postgres can store: no NUL, no lone surrogate, bounded."""
    name = (
        ""
        if isinstance(error, (Cancelled, HandlerTimeout, Never, Later, InvalidBody))
        else f"{type(error).__name__}: "
    )
    text = f"{name}{error}".replace("\x00", "\\0").encode("utf-8", "replace").decode()
    return text[:_ERROR_CHARACTERS]
