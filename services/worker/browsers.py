"""Which browsers a person's pixel events came from: read in short statements, outside of any transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from libs.common.contracts.privacy import Subject
from libs.common.outbox.erase_store import LOCK_SECONDS
from libs.common.privacy.people import table_pattern
from services.worker import cases_store
from services.worker.service import Books

_MOST = 1_000  # of one person, who has few; anybody can forge an event
_WINDOW = 2_000  # events that one statement looks through
_FIRST = (datetime(1970, 1, 1, tzinfo=UTC), "")


@dataclass(frozen=True, slots=True)
class Browsers:
    """Looks through all events of a shop."""

    books: Books

    async def case(self, identifier: UUID) -> asyncpg.Record | None:
        """As it is now."""
        async with self.books.open() as conn:
            return await cases_store.case(conn, identifier)

    async def of(self, subject: Subject) -> list[str]:
        """The client ids of events that name the person; raises `DatabaseAway`."""
        found: set[str] = set()
        after: tuple[datetime, str] | None = _FIRST
        while after is not None and len(found) < _MOST:
            rows = await self._window(subject, after)
            found |= {row["client_id"] for row in rows if row["client_id"] is not None}
            after = (rows[-1]["occurred_at"], rows[-1]["event_id"]) if len(rows) == _WINDOW else None
        return sorted(found)[:_MOST]

    async def _window(self, subject: Subject, after: tuple[datetime, str]) -> list[asyncpg.Record]:
        async with self.books.open() as conn:
            return await cases_store.clients(
                conn, subject.shop, table_pattern(subject), after=after, limit=_WINDOW, timeout=LOCK_SECONDS
            )
