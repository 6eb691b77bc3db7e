"""Bugs of ending a message: in which transaction, by whom, and as what."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from libs.common.db import Connection, connection
from libs.common.outbox import end_store
from libs.common.outbox.end_store import Ending
from libs.common.outbox.put_store import Outgoing
from libs.common.runtime.context import Context
from libs.common.runtime.endings import Endings, Result
from libs.common.runtime.executor import Executor
from libs.common.runtime.handlers import Handler
from libs.common.runtime.outcomes import Never, NothingCommitted
from libs.common.runtime.work import Delivery
from tests.chaos.bugs.bug import Bug
from tests.chaos.bugs.patches import replaced


def _missing_row_not_noticed() -> None:
    """The DELETE decides nothing: whoever worked on a message commits what it wrote."""
    end_one, end_many = end_store.end_one, end_store.end_many

    async def one(conn: Connection, consumer: str, ending: Ending) -> bool:
        await end_one(conn, consumer, ending)
        return True

    async def many(conn: Connection, consumer: str, endings: Sequence[Ending]) -> set[UUID]:
        await end_many(conn, consumer, endings)
        return {ending.message.id for ending in endings}

    replaced(end_store, end_one=one, end_many=many)


def _effect_in_a_transaction_of_its_own() -> None:
    @asynccontextmanager
    async def transaction(self: Context) -> AsyncIterator[Connection]:
        self._opened = True
        async with connection(self._pool, self._acquire_seconds) as conn:
            async with conn.transaction():
                yield conn
                emitted = await self._store_emitted(conn)
            await self._faults.reach("handler done, not committed")
            await self._end(conn)
            self.ended = True
            self._producer.sent(emitted)

    replaced(Context, transaction=transaction)


def _emitted_in_a_transaction_of_its_own() -> None:
    async def store(self: Context, _: Connection) -> list[Outgoing]:
        if self.emitted:
            async with connection(self._pool, self._acquire_seconds) as conn:
                stored = await self._producer.put(conn, self.emitted)
            await self._faults.reach("stored, not announced")
            self._producer.sent(stored)
        return []

    replaced(Context, _store_emitted=store)


def _outage_taken_for_a_failure() -> None:
    async def outcome(
        self: Executor, handler: Handler, delivery: Delivery, context: Context, error: Exception | None
    ) -> Result:
        if context.ended:
            return Result.COMPLETED
        if context.gone is not None:
            return Result.DUPLICATE
        return await self._endings.judge(handler, delivery, error or NothingCommitted())

    replaced(Executor, _outcome=outcome)


def _effect_of_a_failure_kept() -> None:
    """What a handler wrote is committed although it raised."""
    honest = Context.transaction

    @asynccontextmanager
    async def transaction(self: Context) -> AsyncIterator[Connection]:
        failed: Exception | None = None
        async with honest(self) as conn:
            try:
                yield conn
            except Exception as error:  # noqa: BLE001 - that is the bug
                failed = error
        if failed is not None:
            raise failed

    replaced(Context, transaction=transaction)


def _refusal_taken_for_success() -> None:
    honest = Endings.judge

    async def judge(self: Endings, handler: Handler, delivery: Delivery, error: Exception) -> Result:
        if isinstance(error, Never):
            return await self.plain(handler, delivery, Result.COMPLETED)
        return await honest(self, handler, delivery, error)

    replaced(Endings, judge=judge)


def _every_error_final() -> None:
    async def judge(self: Endings, handler: Handler, delivery: Delivery, error: Exception) -> Result:
        return await self._give_up(handler, delivery, "exhausted", self._attempt(delivery, error))

    replaced(Endings, judge=judge)


ENDING = (
    Bug(
        "missing row not noticed", ("worker",), _missing_row_not_noticed,
        provoke="worker frozen past its leases", expected_rules=frozenset({"doubled"}),
    ),
    Bug(
        "effect in a transaction of its own", ("worker",), _effect_in_a_transaction_of_its_own,
        provoke="worker killed before it commits", expected_rules=frozenset({"doubled"}),
    ),
    Bug(
        "emitted in a transaction of its own", ("worker",), _emitted_in_a_transaction_of_its_own,
        provoke="worker killed before it announces what it emits", expected_rules=frozenset({"emitted"}),
    ),
    Bug(
        "outage taken for a failed attempt", ("worker",), _outage_taken_for_a_failure,
        provoke="sessions ended in the middle of their work", expected_rules=frozenset({"attempt_used_up"}),
    ),
    Bug(
        "effect of a failure kept", ("worker",), _effect_of_a_failure_kept,
        provoke="nothing is broken", expected_rules=frozenset({"effect_of_a_failure"}),
    ),
    Bug(
        "refusal taken for success", ("worker",), _refusal_taken_for_success,
        provoke="nothing is broken", expected_rules=frozenset({"wrongly_ended"}),
    ),
    Bug(
        "every error final", ("worker",), _every_error_final,
        provoke="nothing is broken", expected_rules=frozenset({"wrongly_failed"}),
    ),
)  # fmt: skip
