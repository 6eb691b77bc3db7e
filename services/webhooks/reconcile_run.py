"""One comparison of a shop with Shopify: lists what changed, feeds what is missing, writes the ledger by the hour."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import ShopbusError
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.errors import Refused
from services.webhooks import reconcile_api, reconcile_store
from services.webhooks.reconcile_feed import Fate, Feeder, Gap, Grip, TakenOver
from services.webhooks.reconcile_payloads import payload
from services.webhooks.reconcile_plan import (
    Arrival,
    Changed,
    Family,
    Span,
    due,
    hour_of,
    lost,
    second_of,
)
from services.webhooks.reconcile_store import Hour

P = ParamSpec("P")
T = TypeVar("T")
Tally = defaultdict[datetime, Counter[str]]

_SECOND = timedelta(seconds=1)
_AT_ONCE = 4  # resources that are fetched at a time, and fed in one transaction

_log = logs.logger("webhooks")


class GoesOn(ShopbusError):
    """The run has had its time, and got further: the next one goes on, after shops that are due meanwhile."""


@dataclass(frozen=True, slots=True)
class Run:
    """Each step writes what it has done, so a run that dies is gone on with where it was."""

    pool: asyncpg.Pool
    admin: AdminApi
    feeder: Feeder
    faults: FaultPoints
    timeout: float
    grip: Grip
    # By family: what happened before was sent to nobody, or is not known any more.
    since: Mapping[str, datetime]
    resources: reconcile_api.Resources
    denied: frozenset[str]  # families, at the last run
    begun_at: datetime
    clock: Clock
    deadline: float  # by the monotonic clock
    tally: Tally = field(default_factory=lambda: defaultdict(Counter))

    async def compare(self, family: Family, until: datetime, now: datetime, *, partial: bool) -> None:
        """Looks at all hours that are due."""
        known = await self._do(reconcile_store.looked, self.grip.shop, family.name)
        spans = due(
            Span(second_of(self.since[family.name]), until), known, now, partial=partial, begun=self.begun_at
        )
        if not spans and family.name in self.denied:
            await self._try(family, until)
        for span in spans:
            await self._look(family, span)

    async def _try(self, family: Family, until: datetime) -> None:
        """Raises `AccessDenied` if it is so still: a family that was denied begins anew, without an hour to look at."""
        async for _ in reconcile_api.changed(
            self.admin, self.grip.shop, family, Span(until - _SECOND, until)
        ):
            return

    async def _look(self, family: Family, span: Span) -> None:
        """The hours that the list has passed are written down at once."""
        self.tally.clear()
        start, open_hours = second_of(span.start), list(span.hours())
        await self._held(reconcile_store.forget_problems, self.grip.shop, family.name, start, span.end)
        async for page in reconcile_api.changed(self.admin, self.grip.shop, family, span):
            await self._match(family, page)
            reached = page[-1].updated_at if page else start
            passed = [hour for hour in open_hours if hour.end <= hour_of(reached)]
            await self._close(family, passed)
            open_hours = open_hours[len(passed) :]
            if passed:
                self._look_at_clock()
        await self._close(family, open_hours)

    async def _match(self, family: Family, listed: Sequence[Changed]) -> None:
        """Counts what has come, and feeds the rest."""
        ids = [one.id for one in listed]
        known = await self._do(reconcile_store.arrivals, self.grip.shop, family.name, ids)
        gaps = []
        for one in listed:
            arrival = known.get(one.id)
            if topics := lost(family, one, arrival, second_of(self.since[family.name])):
                gaps.append(Gap(one.id, topics, one.updated_at, one.updated_at))
            else:
                self._count(one.updated_at, _came_by(one, arrival))
        for at in range(0, len(gaps), _AT_ONCE):
            await self._feed(family, gaps[at : at + _AT_ONCE])

    async def _feed(self, family: Family, gaps: Sequence[Gap]) -> None:
        found = await asyncio.gather(*(self._fetch(family, gap) for gap in gaps), return_exceptions=True)
        for one in found:  # only now, when none of them goes on any more
            if isinstance(one, BaseException):
                raise one
        there = [one for one in found if isinstance(one, Gap)]
        fates = await self.feeder.feed(self.grip, family, there)
        for gap, fate in zip(there, fates, strict=True):
            self._count(gap.listed_at, fate)
        await self.faults.reach("some fed, not all")
        self._look_at_clock()

    async def _fetch(self, family: Family, gap: Gap) -> Gap | None:
        """With its payload, or with what keeps it from having one; None for what has been deleted since."""
        try:
            node = await self.resources.fetch(family, gap.number)
            if node is None:
                return None
            body, at = payload(family.name, node), datetime.fromisoformat(node["updatedAt"])
            return Gap(gap.number, gap.topics, gap.listed_at, second_of(at), body, node["id"])
        except Refused as error:
            problem = str(error)
        except (LookupError, TypeError, ValueError):
            _log.exception(
                "An answer of the Admin API has another shape.", shop=self.grip.shop, family=family.name
            )
            problem = "the Admin API's answer has another shape, see the log"
        return Gap(gap.number, gap.topics, gap.listed_at, gap.updated_at, problem=problem)

    def _look_at_clock(self) -> None:
        """Only where something has been written, so that every run gets further."""
        if self.clock.monotonic() >= self.deadline:
            raise GoesOn

    def _count(self, at: datetime, fate: str) -> None:
        self.tally[hour_of(at)][fate] += 1

    async def _close(self, family: Family, hours: Sequence[Span]) -> None:
        """Writes hours into the ledger; without any it only holds the shop for longer."""
        rows = [_row(span, self.tally[hour_of(span.start)]) for span in hours]
        await self._held(reconcile_store.keep_hours, self.grip.shop, family.name, rows)

    async def _held(
        self, work: Callable[Concatenate[Connection, P], Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        async def held(conn: Connection) -> None:
            if not await reconcile_store.hold(conn, self.grip.shop, self.grip.holder, self.grip.lease):
                raise TakenOver
            await work(conn, *args, **kwargs)

        await self._do(held)

    async def _do(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    return await work(conn, *args, **kwargs)


def _came_by(changed: Changed, arrival: Arrival | None) -> str:
    fed_at = arrival.fed_at if arrival else None
    return Fate.RECONCILED if fed_at is not None and fed_at >= changed.updated_at else "arrived"


def _row(span: Span, tally: Counter[str]) -> Hour:
    arrived, reconciled, missing = (tally[name] for name in ("arrived", Fate.RECONCILED, Fate.MISSING))
    return Hour(hour_of(span.start), span.end, arrived + reconciled + missing, arrived, reconciled, missing)
