"""Looks through a source's messages for those about a person, or of a shop."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg

from libs.common.contracts.privacy import DRAINED, ERASED, REQUESTS, Subject
from libs.common.db import Connection, connection, database_away_named
from libs.common.outbox import erase_store
from libs.common.privacy.people import is_about, people_in, search_patterns
from libs.common.runtime.outcomes import Later

_WINDOW = 500  # messages that one statement looks through, and one transaction erases at most
_DRAIN_SECONDS = 2.0
_FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)

Ids = list[UUID]


@dataclass(frozen=True, slots=True)
class Found:
    """Messages about the subject in one window."""

    ids: Ids  # to be emptied or deleted
    requests: int = 0  # how many of these are requests such as the one at hand
    linked: frozenset[int] = frozenset()
    undrained: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """Reads in short statements, outside of any transaction."""

    pool: asyncpg.Pool
    source: str
    timeout: float

    async def windows(self, subject: Subject, after: UUID = _FIRST) -> AsyncIterator[Found]:
        """Goes through all messages, a window at a time; an order that turns up is looked for from the beginning."""
        while True:
            last = await self._window(after)
            found = await self._look(subject, after, last or LAST)
            yield found
            fresh = found.linked - {*subject.all_orders()}
            if fresh:
                subject, after = replace(subject, linked=sorted({*subject.linked, *fresh})), _FIRST
            elif last is None:
                return
            else:
                after = last

    async def _window(self, after: UUID) -> UUID | None:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await erase_store.window(conn, self.source, after, _WINDOW)

    async def _look(self, subject: Subject, after: UUID, last: UUID) -> Found:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await self.look_in(conn, subject, after, last)

    async def look_in(self, conn: Connection, subject: Subject, after: UUID, last: UUID) -> Found:
        if subject.whole_shop:
            rows = await erase_store.of_shop(
                conn, self.source, subject.shop, subject.before, after=after, last=last
            )
            return Found([row["id"] for row in rows], requests=sum(row["type"] in REQUESTS for row in rows))
        rows = await erase_store.search(
            conn, self.source, subject.shop, search_patterns(subject), after=after, last=last
        )
        about = [
            row
            for row in rows
            if row["body"] != ERASED and is_about(people_in(row["type"], row["body"]), subject)
        ]
        busy = await erase_store.waiting(conn, self.source, [row["id"] for row in about])
        return _judged(about, busy)


def require_drained(found: Found) -> None:
    if found.undrained:
        raise Later(_DRAIN_SECONDS, "messages of several people are worked on first")


def _judged(about: Sequence[asyncpg.Record], busy: set[UUID]) -> Found:
    """What is to be done with messages about a person. A request that waits is left to its own case."""
    left = {row["id"] for row in about if row["id"] in busy and row["type"] in (*REQUESTS, *DRAINED)}
    orders = (people_in(row["type"], row["body"]).root_order for row in about)
    return Found(
        [row["id"] for row in about if row["id"] not in left],
        requests=sum(row["type"] in REQUESTS and row["id"] not in left for row in about),
        linked=frozenset(number for number in orders if number is not None),
        undrained=any(row["type"] in DRAINED and row["id"] in left for row in about),
    )
