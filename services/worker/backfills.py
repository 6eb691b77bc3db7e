"""Backfills as people see them: begun, looked at, cancelled. What happens in between is in backfill_steps.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.db import Connection
from libs.common.errors import ShopbusError
from libs.common.ids import IdFactory
from services.worker import backfill_store
from services.worker.backfill_store import Backfill
from services.worker.service import Books

Json = dict[str, Any]


class NoSuchBackfill(ShopbusError):
    """There is no such backfill, or its time is over."""


class BackfillOpen(ShopbusError):
    """A shop's orders, products or customers are fetched by one job at a time."""

    def __init__(self, resource: str, identifier: UUID | None) -> None:
        super().__init__(f"a backfill of this shop's {resource} is under way: {identifier}")


class BackfillEnded(ShopbusError):
    """The backfill has ended; there is nothing to cancel."""


@dataclass(frozen=True, slots=True)
class Backfills:
    """The book of backfills."""

    books: Books
    ids: IdFactory

    async def start(self, shop: str, resource: str, since: datetime) -> Json:
        """Begins a job; raises `BackfillOpen`."""
        identifier = self.ids.new()
        async with self.books.open() as conn:
            if not await backfill_store.add(conn, identifier, shop, resource, since):
                raise BackfillOpen(resource, await backfill_store.open_one(conn, shop, resource))
            return shown(await self._one(conn, identifier))

    async def show(self, identifier: UUID) -> Json:
        """One job; raises `NoSuchBackfill`."""
        async with self.books.open() as conn:
            return shown(await self._one(conn, identifier))

    async def page(
        self, before: UUID, limit: int, *, shop: str | None, resource: str | None, status: str | None
    ) -> Sequence[Json]:
        """Jobs that match, newest first."""
        async with self.books.open() as conn:
            found = await backfill_store.page(
                conn, before, limit, shop=shop, resource=resource, status=status
            )
        return [shown(one) for one in found]

    async def cancel(self, identifier: UUID) -> Json:
        """Has a job ended; raises `NoSuchBackfill` or `BackfillEnded`."""
        async with self.books.open() as conn:
            await backfill_store.cancel(conn, identifier, "cancelled on request")
            found = await self._one(conn, identifier)
        if found.status in backfill_store.ENDED:
            raise BackfillEnded(f"the backfill is {found.status} already")
        return shown(found)

    async def _one(self, conn: Connection, identifier: UUID) -> Backfill:
        found = await backfill_store.one(conn, identifier)
        if found is None:
            raise NoSuchBackfill
        return found


def shown(one: Backfill) -> Json:
    """A job as the API tells of it."""
    return {
        "id": one.id,
        "shop": one.shop,
        "resource": one.resource,
        "since": one.since,
        "status": one.status,
        "reason": one.reason,
        "accepted": one.accepted,
        "repeated": one.repeated,
        "withheld": one.withheld,
        "file": {"lines": one.file_lines, "lines_read": one.lines, "bytes_read": one.position},
        "operation": one.operation,
        "attempt": one.attempt,
        "failures": one.failures,
        "created_at": one.created_at,
        "snapshot_at": one.snapshot_at,
        "next_at": None if one.ended_at else one.due_at,
        "ended_at": one.ended_at,
    }
