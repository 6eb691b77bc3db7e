"""Runs handlers on deliveries and makes what came of it permanent, each message in exactly one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.envelope import InvalidBody
from libs.common.db import Connection, connection, is_away
from libs.common.errors import DatabaseAway
from libs.common.outbox import end_store
from libs.common.outbox.end_store import Attempt, Ending
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.group_commit import GroupCommit
from libs.common.outbox.producer import Producer
from libs.common.runtime.backoff import busy_wait, wait_after
from libs.common.runtime.context import Context, EndMessages, SharedContext
from libs.common.runtime.handlers import Handler
from libs.common.runtime.outcomes import AlreadyDone, Later, Never
from libs.common.runtime.slots import Slots
from libs.common.runtime.work import Delivery

_log = structlog.get_logger(__name__)
_ERROR_CHARACTERS = 2_000


class Result(StrEnum):
    """How a delivery left the consumer's hand."""

    COMPLETED = "completed"
    UNHANDLED = "unhandled"
    DUPLICATE = "duplicate"  # its row was gone
    RETRY = "retry"
    LATER = "later"
    BUSY = "busy"  # its shop's slots were taken
    FAILED = "failed"
    RELEASED = "released"  # Postgres left, or we are stopping: no attempt was used up


class SomeGone(AlreadyDone):
    """Some of a batch's rows are gone; the batch is called again with the others."""

    def __init__(self, live: set[UUID]) -> None:
        super().__init__()
        self.live = live


class HandlerTimeout(Exception):
    """The handler did not finish within its timeout."""


class Executor:
    """Knows transactions and outcomes; where deliveries come from and go is the consumer's matter."""

    def __init__(
        self,
        consumer: str,
        pool: asyncpg.Pool,
        producer: Producer,
        slots: Slots,
        clock: Clock,
        *,
        acquire_seconds: float,
        faults: FaultPoints,
        scheduled: Callable[[float], None],
    ) -> None:
        self._consumer, self._pool, self._producer = consumer, pool, producer
        self._slots, self._clock, self._faults = slots, clock, faults
        self._acquire_seconds = acquire_seconds
        self._scheduled = scheduled
        self._ends: GroupCommit[Ending, bool] = GroupCommit(self._end_together, size=lambda _: 1)

    async def run(self, handler: Handler | None, group: Sequence[Delivery]) -> dict[Delivery, Result]:
        """Works on deliveries that may share a transaction; returns what became of each. Never raises but to stop."""
        now = self._clock.now()
        for delivery in group:
            delivery.started_at = now
        if handler is None:
            results = await asyncio.gather(*(self._plain_end(None, d, Result.UNHANDLED) for d in group))
            return dict(zip(group, results, strict=True))
        if handler.takes_list:
            return await self._batch(handler, group)
        if len(group) > 1 and (shared := await self._together(handler, group)):
            return shared
        return {delivery: await self._limited(handler, delivery) for delivery in group}

    # one message, one transaction

    async def _limited(self, handler: Handler, delivery: Delivery) -> Result:
        if handler.per_shop is None or not delivery.message.shop:
            return await self._one(handler, delivery)
        try:
            slot = await self._slots.take(handler.name, delivery.message.shop, handler.per_shop)
        except DatabaseAway:
            return Result.RELEASED
        if slot is None:
            return await self.park(delivery)
        try:
            return await self._one(handler, delivery)
        finally:
            await self._leave(slot)

    async def _leave(self, slot: tuple[int, int]) -> None:
        try:
            await self._slots.release(slot)
        except DatabaseAway:
            _log.warning("A shop's slot was given up with its connection.")

    async def _one(self, handler: Handler, delivery: Delivery) -> Result:
        async def end(conn: Connection) -> None:
            if not await end_store.end_one(conn, self._consumer, self._ending(handler, delivery)):
                raise AlreadyDone

        context = self._context(delivery, end)
        error = await self._call(handler, delivery.message, context)
        if error is None and not context.ended and context.gone is None:
            try:
                return await self._finish(handler, delivery, context)
            except Exception as failure:  # noqa: BLE001 - judged like the handler's own
                error = failure
        return await self._outcome(handler, delivery, context, error)

    async def _finish(self, handler: Handler, delivery: Delivery, context: Context) -> Result:
        if not context.emitted:
            return await self._plain_end(handler, delivery, Result.COMPLETED)
        await context.finish()
        return Result.COMPLETED

    async def _outcome(
        self, handler: Handler, delivery: Delivery, context: Context, error: Exception | None
    ) -> Result:
        if context.ended:
            if error is not None:
                _log.error(
                    "A handler failed after its transaction had committed; its message is done.",
                    handler=handler.name, message_id=str(delivery.message.id), error=_told(error),
                )  # fmt: skip
            return Result.COMPLETED
        if context.gone is not None or isinstance(error, AlreadyDone):
            return Result.DUPLICATE
        if context.infrastructure is not None or isinstance(error, DatabaseAway):
            return Result.RELEASED
        try:
            return await self._judge(handler, delivery, error or RuntimeError("the transaction did not commit"))
        except Exception as failure:
            if not is_away(failure):
                raise
            return Result.RELEASED

    async def _judge(self, handler: Handler, delivery: Delivery, error: Exception) -> Result:
        attempt = self._attempt(delivery, error)
        if isinstance(error, Later):
            return await self._later(delivery, error.seconds, "later", attempt, counted=False, result=Result.LATER)
        if isinstance(error, (Never, InvalidBody)):
            return await self._give_up(delivery, "never", attempt)
        if delivery.message.attempt > handler.retries:
            return await self._give_up(delivery, "exhausted", attempt)
        wait = wait_after(delivery.message.attempt)
        return await self._later(delivery, wait, "retry", attempt, counted=True, result=Result.RETRY)

    async def poisoned(self, delivery: Delivery) -> Result:
        """Gives up a message whose holders vanished too often."""
        delivery.started_at = self._clock.now()
        attempt = self._attempt(delivery, Never("every worker that started it vanished"))
        try:
            return await self._give_up(delivery, "poison", attempt)
        except Exception as failure:
            if not is_away(failure):
                raise
            return Result.RELEASED

    # many messages, one transaction

    async def _together(self, handler: Handler, group: Sequence[Delivery]) -> dict[Delivery, Result] | None:
        """One transaction for the group; None if that failed and each is to be tried alone."""
        try:
            async with connection(self._pool, self._acquire_seconds) as conn:
                async with conn.transaction():
                    endings = [self._ending(handler, delivery) for delivery in group]
                    live = await end_store.end_many(conn, self._consumer, endings)
                    drafts = []
                    for delivery in group:
                        if delivery.message.id in live:
                            context = SharedContext(
                                delivery.message, conn, pool=self._pool, producer=self._producer
                            )
                            if error := await self._call(handler, delivery.message, context):
                                raise error
                            drafts += context.emitted
                    emitted = await self._producer.put(conn, drafts) if drafts else []
                    await self._faults.reach("handler done, not committed")
        except Exception as error:
            if isinstance(error, DatabaseAway):
                return dict.fromkeys(group, Result.RELEASED)
            return None
        self._producer.sent(emitted)
        return {d: Result.COMPLETED if d.message.id in live else Result.DUPLICATE for d in group}

    async def _batch(self, handler: Handler, group: Sequence[Delivery]) -> dict[Delivery, Result]:
        results: dict[Delivery, Result] = {}
        live = list(group)
        while live:
            context = self._context(live[0], self._end_of(handler, live))
            error = await self._call(handler, [delivery.message for delivery in live], context)
            if error is None and not context.ended and context.gone is None:
                error = await self._finish_batch(handler, live, context, results)
                if error is None:
                    return results
            if isinstance(context.gone, SomeGone):
                gone = [d for d in live if d.message.id not in context.gone.live]
                results |= dict.fromkeys(gone, Result.DUPLICATE)
                live = [d for d in live if d.message.id in context.gone.live]
            elif context.ended or len(live) == 1 or context.infrastructure or isinstance(error, DatabaseAway):
                outcome = await self._outcome(handler, live[0], context, error)
                return results | dict.fromkeys(live, outcome)
            else:
                for delivery in live:
                    results |= await self._batch(handler, [delivery])
                return results
        return results

    async def _finish_batch(
        self, handler: Handler, live: Sequence[Delivery], context: Context, results: dict[Delivery, Result]
    ) -> Exception | None:
        try:
            if context.emitted:
                await context.finish()
                results |= dict.fromkeys(live, Result.COMPLETED)
            else:
                ends = await asyncio.gather(*(self._plain_end(handler, d, Result.COMPLETED) for d in live))
                results |= dict(zip(live, ends, strict=True))
        except Exception as error:  # noqa: BLE001 - judged like the handler's own
            return error
        return None

    def _end_of(self, handler: Handler, live: Sequence[Delivery]) -> EndMessages:
        async def end(conn: Connection) -> None:
            ended = await end_store.end_many(conn, self._consumer, [self._ending(handler, d) for d in live])
            if len(ended) < len(live):
                raise SomeGone(ended)

        return end

    # the pieces

    async def _call(self, handler: Handler, argument: Any, context: Context) -> Exception | None:
        try:
            async with asyncio.timeout(handler.timeout) as deadline:
                await handler.function(argument, context)
        except TimeoutError as error:
            return HandlerTimeout(f"timed out after {handler.timeout:g} s") if deadline.expired() else error
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its message's error
            return error
        return None

    def _context(self, delivery: Delivery, end: EndMessages) -> Context:
        return Context(
            delivery.message, pool=self._pool, producer=self._producer, end=end,
            acquire_seconds=self._acquire_seconds,
            before_commit=lambda: self._faults.reach("handler done, not committed"),
        )  # fmt: skip

    def _ending(self, handler: Handler | None, delivery: Delivery, result: Result = Result.COMPLETED) -> Ending:
        started = delivery.started_at or self._clock.now()
        name = None if handler is None else handler.name
        return Ending(delivery.message, delivery.lane, result.value, name, delivery.route, started)

    async def _plain_end(self, handler: Handler | None, delivery: Delivery, result: Result) -> Result:
        """Ends a message with no writes of its handler's; many such ends share a commit."""
        try:
            live = await self._ends.submit(self._ending(handler, delivery, result))
        except Exception as error:
            if not is_away(error):
                raise
            return Result.RELEASED
        return result if live else Result.DUPLICATE

    async def _end_together(self, endings: Sequence[Ending]) -> list[bool]:
        groups: dict[tuple[str, str], list[Ending]] = {}
        for ending in endings:
            groups.setdefault((ending.message.source, ending.lane.value), []).append(ending)
        live: set[UUID] = set()
        async with connection(self._pool, self._acquire_seconds) as conn:
            for group in groups.values():
                live |= await end_store.end_many(conn, self._consumer, group)
        return [ending.message.id in live for ending in endings]

    def _attempt(self, delivery: Delivery, error: Exception) -> Attempt:
        now = self._clock.now()
        return Attempt(delivery.started_at or now, now, _told(error), delivery.route)

    async def _later(
        self, delivery: Delivery, seconds: float, reason: str, attempt: Attempt | None, *, counted: bool, result: Result
    ) -> Result:
        async with connection(self._pool, self._acquire_seconds) as conn:
            moved = await end_store.schedule(
                conn, self._consumer, delivery.message, delivery.lane,
                delay_seconds=seconds, reason=reason, attempt=attempt, counted=counted,
            )  # fmt: skip
        self._scheduled(seconds)
        return result if moved else Result.DUPLICATE

    async def park(self, delivery: Delivery) -> Result:
        """Puts a message aside for a moment, because its shop has enough of its kind running and waiting."""
        try:
            return await self._later(delivery, busy_wait(), "busy", None, counted=False, result=Result.BUSY)
        except Exception as failure:
            if not is_away(failure):
                raise
            return Result.RELEASED

    async def _give_up(self, delivery: Delivery, reason: str, attempt: Attempt) -> Result:
        async with connection(self._pool, self._acquire_seconds) as conn:
            moved = await end_store.fail(
                conn, self._consumer, delivery.message, delivery.lane, reason=reason, attempt=attempt
            )
        return Result.FAILED if moved else Result.DUPLICATE


def _told(error: BaseException) -> str:
    """An error in words that Postgres can store: no NUL, no lone surrogate, bounded."""
    name = "" if isinstance(error, (HandlerTimeout, Never, Later, InvalidBody)) else f"{type(error).__name__}: "
    text = f"{name}{error}".replace("\x00", "\\0").encode("utf-8", "replace").decode()
    return text[:_ERROR_CHARACTERS]
