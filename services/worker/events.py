"""What a shop's pixel events tell: the list, a visitor's timeline, and figures by day."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from libs.common.db import Connection
from libs.common.shopify import pixel_marks
from libs.common.shopify.pixel_marks import Mark
from services.worker import events_store as store
from services.worker.events_store import Spot, Wanted
from services.worker.service import Books

SCAN_DEPTH = 20_000  # events that one page looks through
LAST_ID = "\U0010ffff"
STAGES: Mapping[str, str] = {
    "viewed": "product_viewed",
    "cart": "product_added_to_cart",
    "checkout": "checkout_started",
    "completed": "checkout_completed",
}
"""The funnel. Who reached a stage counts in those before it: a buy-now button skips the cart, and events get lost."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Events newest first, and where the next page begins, if there is one."""

    events: list[Json]
    next: Spot | None


@dataclass(frozen=True, slots=True)
class Events:
    """Answers for one shop at a time."""

    books: Books

    async def page(self, wanted: Wanted, before: Spot | None, limit: int) -> Page:
        """A page of the list. It may be short, even empty; the list ends where there is no next."""
        spot, rows, depth = before or Spot(wanted.until, LAST_ID), list[asyncpg.Record](), SCAN_DEPTH
        async with self._open() as conn:
            for day in _days_down(spot.occurred_at, wanted.since):
                found = await store.page(conn, wanted, day, spot, limit=limit - len(rows), depth=depth)
                rows += found
                if len(rows) == limit:
                    return Page([_shown(row) for row in rows], _spot(rows[-1]))
                floor = await store.floor(conn, wanted, day, spot, depth)
                if floor is not None:
                    return Page([_shown(row) for row in rows], floor)
        return Page([_shown(row) for row in rows], None)

    async def timeline(
        self, shop: str, client_id: str, days: tuple[date, date], *, skip: int, limit: int
    ) -> list[Json]:
        """A visitor's events in the order in which they happened."""
        async with self._open() as conn:
            rows = await store.timeline(conn, shop, client_id, days, skip=skip, limit=limit)
        return [_shown(row) for row in rows]

    async def stats(self, shop: str, days: tuple[date, date], *, bots: bool) -> Json:
        """Events by day and name, and the funnel of visitors."""
        without = 0 if bots else int(Mark.BOT)
        async with self._open() as conn:
            counted = await store.counts(conn, shop, days, without=without)
            ended = await store.funnel(conn, shop, days, list(STAGES.values()), without=without)
        by_day: dict[str, dict[str, int]] = {}
        for row in counted:
            by_day.setdefault(row["day"].isoformat(), {})[row["name"]] = row["events"]
        return {
            "since": days[0],
            "until": days[1],
            "days": [{"day": day, "events": names} for day, names in by_day.items()],
            "funnel": funnel(ended),
        }

    def _open(self) -> AbstractAsyncContextManager[Connection]:
        return self.books.open()


def funnel(ended: Mapping[int, int]) -> Json:
    """Visitors by stage, and the share of those who viewed something that bought something."""
    stages, reached = dict[str, int](), 0
    for number, stage in reversed(list(enumerate(STAGES, start=1))):
        reached += ended.get(number, 0)
        stages[stage] = reached
    visitors = {stage: stages[stage] for stage in STAGES}
    viewed, completed = visitors["viewed"], visitors["completed"]
    return {"visitors": visitors, "conversion": round(completed / viewed, 4) if viewed else None}


def _days_down(newest: datetime, oldest: datetime) -> Iterator[date]:
    day, last = newest.astimezone(UTC).date(), oldest.astimezone(UTC).date()
    while day >= last:
        yield day
        day -= timedelta(days=1)


def _spot(row: asyncpg.Record) -> Spot:
    return Spot(row["occurred_at"], row["event_id"])


def _shown(row: asyncpg.Record) -> Json:
    return {
        "id": row["event_id"],
        "name": row["name"],
        "type": row["kind"],
        "client_id": row["client_id"],
        "seq": row["seq"],
        "occurred_at": row["occurred_at"],
        "received_at": row["received_at"],
        "marks": pixel_marks.names(row["marks"]),
        "version": row["version"],
        "content": orjson.Fragment(row["content"]),
    }
