"""Compares every shop with Shopify on a schedule, so that a webhook which did not come is known and made up for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID, uuid4

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.errors import AccessDenied, AdminError
from libs.common.tasks import background
from libs.common.token_client import NotInstalled
from services.webhooks import metrics, reconcile_api, reconcile_store
from services.webhooks.api_failures import AGAIN_SECONDS, failure
from services.webhooks.arrivals import Arrivals
from services.webhooks.reconcile_feed import Feeder, Grip, TakenOver
from services.webhooks.reconcile_plan import Family, hour_of, judged, second_of
from services.webhooks.reconcile_run import GoesOn, Run
from services.webhooks.reconcile_store import Shop

P = ParamSpec("P")
T = TypeVar("T")

LEASE_SECONDS = 150.0  # after which another process takes over who died
_IDLE_SECONDS = 15.0  # between two looks for what is due, if nobody says so
_AWAY_SECONDS = 2.0
_KNOWN = (
    0.9  # of the retention: what has arrived is forgotten after it, and must not be taken for missing then
)

_log = logs.logger("webhooks")


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Any number of processes may do it: each shop is one's at a time, by a lease in Postgres."""

    pool: asyncpg.Pool
    admin: AdminApi
    arrivals: Arrivals
    feeder: Feeder
    clock: Clock
    timeout: float  # for Postgres
    every: float  # seconds between two runs of a shop
    grace: float  # seconds that a delivery is waited for before it counts as lost
    days: int  # for which deliveries and the ledger are kept
    faults: FaultPoints
    longest: float  # seconds that a run may take before other shops have their turn
    families: tuple[Family, ...] = field(default_factory=judged)
    lease: float = LEASE_SECONDS
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Something has become due just now."""
        self._wake.set()

    async def run(self) -> None:
        """Compares what is due, one shop after the other, until cancelled."""
        holder = uuid4()
        while True:
            self._wake.clear()
            try:
                if await self.turn(holder):
                    continue
                nap = _IDLE_SECONDS
            except DatabaseAway as error:
                _log.info("Comparing shops with Shopify goes on when Postgres is back.", error=str(error))
                nap = _AWAY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._wake.wait()

    async def turn(self, holder: UUID) -> bool:
        """Compares the shop that is most overdue; False where none is due."""
        await self._do(reconcile_store.take_in, timedelta(seconds=self.every))
        lease = timedelta(seconds=self.lease)
        shop = await self._do(reconcile_store.take_due, holder, lease)
        if shop is not None:
            await self._settle(shop, Grip(shop.name, holder, lease))
        return shop is not None

    async def ask(self, shop: str) -> datetime | None:
        """Has a shop compared now, the hour that has begun included; None for one that is not compared."""
        await self._do(reconcile_store.take_in, timedelta(seconds=self.every))
        asked = await self._do(reconcile_store.ask, shop)
        self.wake()
        return asked

    async def _settle(self, shop: Shop, grip: Grip) -> None:
        """Ends in one of the outcomes of the metric; only `DatabaseAway` is raised."""
        try:
            async with background({"lease on a comparison": partial(self._keep, grip)}, self.clock):
                await self._compare(shop, grip)
            outcome = "done"
        except DatabaseAway:
            raise
        except TakenOver:
            outcome = "taken_over"
        except GoesOn:
            await self._do(reconcile_store.pause, grip.shop, grip.holder)
            outcome = "goes_on"
        except NotInstalled:
            await self._fail(grip, "the app is not installed", self.every)
            outcome = "not_installed"
        except AdminError as error:
            outcome, seconds = failure(error)
            await self._fail(grip, str(error), seconds)
        except Exception:  # noqa: BLE001 - one shop's surprise must not keep the others waiting
            _log.exception("A shop could not be compared with Shopify.", shop=shop.name)
            await self._fail(grip, "a fault of ours, which is in the log", AGAIN_SECONDS)
            outcome = "fault"
        metrics.RECONCILE_RUNS.labels(outcome).inc()

    async def _keep(self, grip: Grip) -> None:
        """Renews the lease beside what may take long: reading what has arrived, a shop without points.

        Until cancelled, or somebody else has the shop: then the run's next write tells it so.
        """
        ours = True
        while ours:
            await self.clock.sleep(self.lease / 5)
            with suppress(DatabaseAway):  # nothing can be written either
                ours = await self._do(reconcile_store.hold, grip.shop, grip.holder, grip.lease)

    async def _compare(self, shop: Shop, grip: Grip) -> None:
        granted = await reconcile_api.scopes(self.admin, shop.name)
        known_until, now, keep = await self.arrivals.catch_up(), self.clock.now(), timedelta(days=self.days)
        until = second_of(min(now - timedelta(seconds=self.grace), known_until))
        names = [family.name for family in self.families if family.scope in granted]
        since = await self._do(reconcile_store.take_families, grip.shop, grip.holder, names)
        if since is None:
            raise TakenOver
        earliest = second_of(max(shop.since, now - _KNOWN * keep))
        run = Run(
            self.pool, self.admin, self.feeder, self.faults, self.timeout, grip,
            {name: max(at, earliest) for name, at in since.items()},
            reconcile_api.Resources(self.admin, shop.name, granted), shop.denied, shop.begun_at, self.clock,
            self.clock.monotonic() + self.longest,
        )  # fmt: skip
        denied = await self._compare_families(run, until, now, partial=shop.asked)
        proven = until if shop.asked else hour_of(until)
        await self._do(
            reconcile_store.finish, grip.shop, grip.holder, timedelta(seconds=self.every), denied, proven
        )

    async def _compare_families(
        self, run: Run, until: datetime, now: datetime, *, partial: bool
    ) -> list[str]:
        """Those that are denied; the first other error is raised when all have had their turn."""
        granted = [family for family in self.families if family.name in run.since]
        denied = [family.name for family in self.families if family.name not in run.since]
        failed = list[Exception]()
        for family in granted:
            try:
                await run.compare(family, until, now, partial=partial)
            except AccessDenied:
                denied.append(family.name)
            except (DatabaseAway, TakenOver, GoesOn, NotInstalled):
                raise
            except Exception as error:  # noqa: BLE001 - what is wrong with orders does not concern customers
                _log.info(
                    "A family was not compared.", shop=run.grip.shop, family=family.name, error=str(error)
                )
                failed.append(error)
        if failed:
            raise failed[0]
        return denied

    async def _fail(self, grip: Grip, why: str, seconds: float) -> None:
        await self._do(reconcile_store.fail, grip.shop, grip.holder, why, timedelta(seconds=seconds))

    async def _do(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    return await work(conn, *args, **kwargs)
