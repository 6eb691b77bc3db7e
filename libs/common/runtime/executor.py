"""Runs handlers on deliveries, each message in exactly one transaction: alone, together with others, or as a batch."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.envelope import Draft
from libs.common.db import Connection, connection, interrupts
from libs.common.errors import DatabaseAway
from libs.common.outbox import end_store
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer
from libs.common.runtime.cache import Cache
from libs.common.runtime.context import Context, EndMessages, SharedContext, Tools
from libs.common.runtime.endings import Endings, Result, told
from libs.common.runtime.fence import Fenced
from libs.common.runtime.handlers import Handler
from libs.common.runtime.outcomes import AlreadyDone, HandlerCancelled, HandlerTimeout, NothingCommitted
from libs.common.runtime.slots import Slot, Slots
from libs.common.runtime.work import Delivery

_log = structlog.get_logger(__name__)

Results = dict[Delivery, Result]

_ELSEWHERE_BUSY_SECONDS = 1.0  # when other processes have all places of a shop


class SomeGone(AlreadyDone):
    """Some of a batch's rows are gone; the batch is called again with the others."""

    def __init__(self, live: set[UUID]) -> None:
        super().__init__()
        self.live = live


class Executor:
    """Knows handlers and their transactions; where deliveries come from and go is the dispatcher's matter."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        producer: Producer,
        slots: Slots,
        endings: Endings,
        clock: Clock,
        *,
        acquire_seconds: float,
        faults: FaultPoints,
        tools: Tools | None = None,
    ) -> None:
        self._pool, self._producer, self._slots, self._endings = pool, producer, slots, endings
        self._clock, self._faults = clock, faults
        self._acquire_seconds = acquire_seconds
        self._tools = tools or Tools(Cache(clock))

    async def run(self, handler: Handler | None, group: Sequence[Delivery]) -> Results:
        """Works on deliveries that may share a transaction; returns what became of each."""
        now = self._clock.now()
        for delivery in group:
            delivery.started_at = now
        if handler is None:
            results = await asyncio.gather(*(self._endings.plain(None, d, Result.UNHANDLED) for d in group))
            return dict(zip(group, results, strict=True))
        if handler.takes_list:
            return await self._batch(handler, list(group))
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
            slot = None  # the others' connections may work: it need not be Postgres that is away
        if slot is None:
            return await self._endings.park(delivery, _ELSEWHERE_BUSY_SECONDS)
        try:
            await self._faults.reach("slot taken, not started")
            return await self._one(handler, delivery, slot)
        finally:
            await self._leave(slot)

    async def _leave(self, slot: Slot) -> None:
        try:
            await self._slots.release(slot)
        except DatabaseAway:
            _log.warning("A shop's slot was given up with its connection.")

    async def _one(self, handler: Handler, delivery: Delivery, slot: Slot | None = None) -> Result:
        async def end(conn: Connection) -> None:
            if not await end_store.end_one(
                conn, self._endings.consumer, self._endings.ending(handler, delivery)
            ):
                raise AlreadyDone

        context = self._context(delivery, end)
        error = await self._call(handler, delivery.message, context, slot)
        if error is None and context.untouched:
            if not context.emitted:
                return await self._endings.plain(handler, delivery, Result.COMPLETED)
            error = await _finished(context, handler)
        return await self._outcome(handler, delivery, context, error)

    async def _outcome(
        self, handler: Handler, delivery: Delivery, context: Context, error: Exception | None
    ) -> Result:
        if context.ended:
            if error is not None:
                _log.error(
                    "A handler failed after its transaction had committed; its message is done.",
                    handler=handler.name, message_id=str(delivery.message.id), error=told(error),
                )  # fmt: skip
            return Result.COMPLETED
        if context.gone is not None:
            return Result.DUPLICATE
        if context.interrupted:
            return Result.INTERRUPTED
        if isinstance(error, DatabaseAway):
            return Result.RELEASED
        return await self._endings.judge(handler, delivery, error or NothingCommitted())

    # many messages, one transaction

    async def _together(self, handler: Handler, group: Sequence[Delivery]) -> Results | None:
        """One transaction for the group; None if that failed and each is to be tried alone."""
        try:
            async with (
                asyncio.timeout(handler.timeout + self._acquire_seconds),
                connection(self._pool, self._acquire_seconds) as conn,
                conn.transaction(),
            ):
                endings = [self._endings.ending(handler, delivery) for delivery in group]
                live = await end_store.end_many(conn, self._endings.consumer, endings)
                drafts: list[Draft] = []
                async with asyncio.timeout(handler.timeout):
                    for delivery in group:
                        if delivery.message.id in live:
                            drafts += await self._share(handler, delivery, conn)
                emitted = await self._producer.put(conn, drafts) if drafts else []
                await self._faults.reach("handler done, not committed")
        except DatabaseAway:
            return dict.fromkeys(group, Result.RELEASED)
        except Exception as error:  # noqa: BLE001 - each is tried alone now, and what is wrong shows there
            return dict.fromkeys(group, Result.INTERRUPTED) if interrupts(error) else None
        if emitted:
            await self._faults.reach("stored, not announced")
            self._producer.sent(emitted)
        return {d: Result.COMPLETED if d.message.id in live else Result.DUPLICATE for d in group}

    async def _share(self, handler: Handler, delivery: Delivery, conn: Connection) -> list[Draft]:
        context = SharedContext(
            delivery.message,
            conn,
            pool=self._pool,
            producer=self._producer,
            tools=self._tools,
            faults=self._faults,
        )
        try:
            await handler.function(delivery.message, context)  # one timer for the group
        except asyncio.CancelledError:
            if _cancelled_from_outside():
                raise
            raise HandlerCancelled from None
        if context.broken:
            raise AlreadyDone
        return context.emitted

    async def _batch(self, handler: Handler, live: list[Delivery]) -> Results:
        results: Results = {}
        while live:
            context = self._context(live[0], self._end_of(handler, live))
            error = await self._call(handler, [delivery.message for delivery in live], context)
            if error is None and context.untouched:
                if not context.emitted:
                    return results | await self._end_each(handler, live)
                error = await _finished(context, handler)
            if isinstance(context.gone, SomeGone):
                there = context.gone.live
                results |= {d: Result.DUPLICATE for d in live if d.message.id not in there}
                live = [d for d in live if d.message.id in there]
                continue
            if len(live) == 1 or context.ended or context.interrupted or isinstance(error, DatabaseAway):
                outcome = await self._outcome(handler, live[0], context, error)
                return results | dict.fromkeys(live, outcome)
            for delivery in live:
                results |= await self._batch(handler, [delivery])
            break
        return results

    async def _end_each(self, handler: Handler, live: Sequence[Delivery]) -> Results:
        ends = await asyncio.gather(*(self._endings.plain(handler, d, Result.COMPLETED) for d in live))
        return dict(zip(live, ends, strict=True))

    def _end_of(self, handler: Handler, live: Sequence[Delivery]) -> EndMessages:
        async def end(conn: Connection) -> None:
            endings = [self._endings.ending(handler, delivery) for delivery in live]
            ended = await end_store.end_many(conn, self._endings.consumer, endings)
            if len(ended) < len(live):
                raise SomeGone(ended)

        return end

    # the pieces

    async def _call(
        self, handler: Handler, argument: Any, context: Context, slot: Slot | None = None
    ) -> Exception | None:
        try:
            async with asyncio.timeout(handler.timeout) as deadline:
                work = handler.function(argument, context)
                await (work if slot is None else Fenced(work, slot))
        except TimeoutError as error:
            return HandlerTimeout(f"timed out after {handler.timeout:g} s") if deadline.expired() else error
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its message's error
            return error
        except asyncio.CancelledError:
            if _cancelled_from_outside():
                raise
            return HandlerCancelled()
        return None

    def _context(self, delivery: Delivery, end: EndMessages) -> Context:
        return Context(
            delivery.message, pool=self._pool, producer=self._producer, end=end,
            acquire_seconds=self._acquire_seconds, tools=self._tools, faults=self._faults,
        )  # fmt: skip


def _cancelled_from_outside() -> bool:
    """Whether a cancellation is our own stop or timeout, and did not come from something that a handler awaited."""
    return (task := asyncio.current_task()) is None or bool(task.cancelling())


async def _finished(context: Context, handler: Handler) -> Exception | None:
    """Ends a message that emitted something outside a transaction; what goes wrong is judged like the handler's."""
    try:
        async with asyncio.timeout(handler.timeout):
            await context.finish()
    except Exception as error:  # noqa: BLE001
        return error
    return None
