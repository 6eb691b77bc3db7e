"""One service's part of a privacy case: it collects or erases what its own schema holds, and answers.

An erasure is many small transactions, each of which counts what it erases; what was erased is not found again. So a
process may die between any two of them, and the message brings the next one to go on.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.privacy import (
    COLLECT,
    COLLECT_DONE,
    DRAINED,
    ERASE,
    ERASE_DONE,
    ERASED,
    Answer,
    Command,
    Subject,
    command_type,
)
from libs.common.db import Connection, connection, database_away_named
from libs.common.ids import id_floor
from libs.common.outbox import erase_store
from libs.common.outbox.erase_store import LOCK_SECONDS, Trail
from libs.common.outbox.faults import FaultPoints
from libs.common.privacy import metrics
from libs.common.privacy.collecting import parts_of, plain
from libs.common.privacy.declarations import Holdings
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.people import is_others, marks_of, people_in
from libs.common.privacy.search import LAST, Found, Ids, Search, require_drained
from libs.common.privacy.tombstones import GRACE_SECONDS
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler
from libs.common.runtime.outcomes import Cancelled

_log = structlog.get_logger(__name__)

_TIMEOUT = 3600.0  # reading a busy shop's payloads of two weeks
_RETRIES = 30  # about a day
_CLOCKS_DIFFER = timedelta(minutes=1)
_WHY = "Cancelled: whom this is about was erased on request"

Objection = Callable[[Connection, Subject], Awaitable[str | None]]
"""Says why a shop must not be erased, or None; asked before, and again in the transaction that ends the erasure."""

Prepare = Callable[[Subject], Awaitable[None]]
"""What has to be found out, outside of any transaction, before a shop is erased."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What a service does when it is asked; `grace` is how long its doors may not know of a new tombstone."""

    holdings: Holdings
    pool: asyncpg.Pool
    keys: PrivacyKeys
    clock: Clock
    timeout: float
    retention_days: int
    grace: float = GRACE_SECONDS
    objection: Objection | None = None
    prepare: Prepare | None = None
    faults: FaultPoints = field(default_factory=FaultPoints)

    @property
    def source(self) -> str:
        return self.holdings.schema

    @property
    def _search(self) -> Search:
        return Search(self.pool, self.source, self.timeout)

    def handlers(self) -> list[Handler]:
        """To be added to the service's registry."""
        options: dict[str, Any] = {"timeout": _TIMEOUT, "retries": _RETRIES}
        return [
            Handler("privacy.erase", self.erase, (command_type(ERASE, self.source),), **options),
            Handler("privacy.collect", self.collect, (command_type(COLLECT, self.source),), **options),
        ]

    async def collect(self, message: Message, ctx: Context) -> None:
        """Answers with all that this schema holds about the customer."""
        command = _command(message)
        items, linked = await self._collect_messages(command.subject)
        subject = replace(command.subject, linked=sorted({*command.subject.linked, *linked}))
        items += await self._collect_tables(subject)
        answer = Answer(
            command.case, self.source, rows=_counted(items), found=len(items), linked=sorted(linked)
        )
        for part in parts_of(answer, items):
            await ctx.emit(COLLECT_DONE, part.body(), shop="")

    async def erase(self, message: Message, ctx: Context) -> None:
        """Erases the subject from this schema and answers with the numbers of rows."""
        command = _command(message)
        if (objection := await self._objection(command.subject)) is not None:
            await self._answer(ctx, Answer(command.case, self.source, objection=objection))
            return
        await self._bury(command.subject)
        started = self.clock.now()
        linked: set[int] = set()
        async for found in self._search.windows(command.subject):
            await self._erase_window(command.case, command.subject, found, linked)
        if linked - {*command.subject.all_orders()}:
            await self._bury(replace(command.subject, linked=sorted({*command.subject.linked, *linked})))
        async with ctx.transaction() as tx:
            answer = await self._finish(tx, command, linked, since=started)
            await self._answer(ctx, answer)
        if answer.objection is None:
            metrics.ERASED.labels(self.source).inc(sum(answer.rows.values()))

    async def _answer(self, ctx: Context, answer: Answer) -> None:
        await ctx.emit(ERASE_DONE, answer.body(), shop="")

    async def _objection(self, subject: Subject) -> str | None:
        if self.objection is None or not subject.whole_shop:
            return None
        if self.prepare is not None:
            await self.prepare(subject)
        async with connection(self.pool, self.timeout) as conn, conn.transaction():
            return await self.objection(conn, subject)

    async def _bury(self, subject: Subject) -> None:
        """Nobody lets the subject in again; returns once every process that accepts messages knows."""
        shop = self.keys.shop(subject.shop)
        marks = [shop] if subject.whole_shop else [
            self.keys.customer(subject.shop, kind, text) for kind, text in marks_of(subject)
        ]  # fmt: skip
        async with connection(self.pool, self.timeout) as conn, conn.transaction():
            await erase_store.bury(
                conn, self.source, sorted(marks), shop, subject.before, self.retention_days
            )
        await self.clock.sleep(self.grace)

    async def _erase_window(self, case: UUID, subject: Subject, found: Found, linked: set[int]) -> None:
        linked |= found.linked
        require_drained(found)
        if not found.ids:
            return
        async with connection(self.pool, self.timeout) as conn, conn.transaction():
            await self._erase_messages(conn, case, subject, found)
            await self.faults.reach("rows erased, not committed")
        await self.faults.reach("rows erased, not answered")

    async def _erase_messages(self, conn: Connection, case: UUID, subject: Subject, found: Found) -> None:
        if subject.whole_shop:
            rows = await erase_store.delete(conn, self.source, found.ids)
        else:
            rows = await erase_store.empty(conn, self.source, found.ids, Trail(self.clock.now(), _WHY))
        rows = _apart(rows, f"{self.source}.messages", found.requests)
        await erase_store.note_progress(conn, self.source, case, rows)

    async def _finish(self, tx: Connection, command: Command, linked: set[int], *, since: datetime) -> Answer:
        """What came meanwhile, and the tables; in the transaction that ends the command.

        Nobody is buried here: who puts what came from elsewhere holds the tombstones and then waits for these rows.
        """
        case, subject = command.case, command.subject
        if self.objection is not None and subject.whole_shop and (why := await self.objection(tx, subject)):
            await erase_store.take_progress(tx, self.source, case)
            return Answer(case, self.source, objection=why)
        subject = replace(subject, linked=sorted({*subject.linked, *linked}))
        await self._erase_rest(tx, case, subject, id_floor(since - _CLOCKS_DIFFER))
        await self._erase_tables(tx, case, subject)
        rows = await erase_store.take_progress(tx, self.source, case)
        return Answer(case, self.source, rows=rows, found=self._found(rows), linked=sorted(linked))

    async def _erase_rest(self, tx: Connection, case: UUID, subject: Subject, after: UUID) -> None:
        """Until there is nothing more: a handler that committed just now may have emitted another message."""
        while True:
            found = await self._search.look_in(tx, subject, after, LAST)
            require_drained(found)
            if not found.ids:
                return
            await self._erase_messages(tx, case, subject, found)

    async def _erase_tables(self, tx: Connection, case: UUID, subject: Subject) -> None:
        rows: dict[str, int] = {}
        for table in self.holdings.personal:
            statement = table.erase_shop if subject.whole_shop else table.erase
            if statement is None:
                continue
            status = await tx.execute(statement.sql, *statement.values(subject), timeout=10 * LOCK_SECONDS)
            if number := int(status.rpartition(" ")[2]):
                rows[self.holdings.place(table)] = number
        await erase_store.note_progress(tx, self.source, case, rows)

    def _found(self, rows: dict[str, int]) -> int:
        """Rows that say that there was something to erase besides requests and traces of work."""
        counted = {self.holdings.place(table) for table in self.holdings.personal if table.counted}
        return sum(number for place, number in rows.items() if place in {*counted, f"{self.source}.messages"})

    async def _collect_messages(self, subject: Subject) -> tuple[list[dict[str, Any]], set[int]]:
        items: dict[UUID, dict[str, Any]] = {}
        linked: set[int] = set()
        async for found in self._search.windows(subject):
            linked |= found.linked
            require_drained(found)  # what they hold of the person is rows then
            wanted = [identifier for identifier in found.ids if identifier not in items]
            known = replace(subject, linked=sorted({*subject.linked, *linked}))
            items |= await self._messages(wanted, known)
        return [items[identifier] for identifier in sorted(items)], linked

    async def _messages(self, ids: Ids, subject: Subject) -> dict[UUID, dict[str, Any]]:
        if not ids:
            return {}
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                rows = await erase_store.payloads(conn, self.source, ids)
        return {
            row["id"]: {"table": f"{self.source}.messages", **plain(dict(row))}
            for row in rows
            if row["type"] not in DRAINED and not is_others(people_in(row["type"], row["body"]), subject)
        }

    async def _collect_tables(self, subject: Subject) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                for table in self.holdings.personal:
                    if table.find is None:
                        continue
                    found = await conn.fetch(
                        table.find.sql, *table.find.values(subject), timeout=LOCK_SECONDS
                    )
                    items += [
                        {"table": self.holdings.place(table), **plain(dict(row))}
                        for row in found
                        if table.names is None
                        or not is_others(people_in("", row[table.names].encode()), subject)
                    ]
        return items


def _command(message: Message) -> Command:
    if message.body == ERASED:
        raise Cancelled("the case has ended")
    return Command.of(message)


def _apart(rows: dict[str, int], place: str, requests: int) -> dict[str, int]:
    """Counts the requests themselves apart: there is one in each case."""
    if not requests:
        return rows
    others = rows.pop(place, 0) - requests
    return rows | {f"{place} (requests)": requests} | ({place: others} if others > 0 else {})


def _counted(items: Sequence[dict[str, Any]]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for item in items:
        rows[item["table"]] = rows.get(item["table"], 0) + 1
    return rows
