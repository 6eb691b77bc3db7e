"""What webhooks does at shops' Admin APIs: keeps their subscriptions, and compares what has come with what there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from libs.common.clock import Clock
from libs.common.db import direct_connections
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer
from libs.common.privacy.tombstones import Tombstones
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.open import open_admin
from libs.common.tasks import Part
from services.webhooks.arrivals import Arrivals
from services.webhooks.config import Settings
from services.webhooks.forget import Forgetting
from services.webhooks.reconcile import Reconciler
from services.webhooks.reconcile_feed import Feeder
from services.webhooks.reconcile_gauges import ReconcileGauges
from services.webhooks.subscriptions import Keeper

_CHECKS = 4  # shops whose subscriptions are looked at at once: one slow shop does not hold up the others
_RUNS = 2  # shops that are compared at once


@dataclass(frozen=True, slots=True)
class ApiWork:
    """Nobody does either where the app's address is not known."""

    keeper: Keeper | None = None
    reconciler: Reconciler | None = None
    gauges: ReconcileGauges | None = None
    forgetting: Forgetting | None = None

    def parts(self) -> dict[str, Part]:
        """What runs for as long as the service does."""
        found: dict[str, Part] = {}
        if self.keeper is not None:
            found |= {f"subscriptions {number}": self.keeper.run for number in range(1, _CHECKS + 1)}
        if self.reconciler is not None and self.gauges is not None:
            found |= {f"reconciler {number}": self.reconciler.run for number in range(1, _RUNS + 1)}
            found |= {"arrivals": self.reconciler.arrivals.run, "reconciler gauges": self.gauges.run}
        if self.forgetting is not None:
            found["reconciler forgetting"] = self.forgetting.run
        return found

    def wake(self) -> None:
        """A shop's subscriptions are due."""
        if self.keeper is not None:
            self.keeper.wake()

    def note(self) -> str | None:
        """What /readyz says of it."""
        return None if self.keeper else "APP_URL is not set: webhook subscriptions are left alone"


@asynccontextmanager
async def open_api_work(
    settings: Settings,
    pool: asyncpg.Pool,
    producer: Producer,
    tombstones: Tombstones,
    clock: Clock,
    faults: FaultPoints | None,
) -> AsyncIterator[ApiWork]:
    """Opens the Admin API, where there is an address for Shopify to send to."""
    uri = settings.webhook_uri
    if uri is None:
        yield ApiWork()
        return
    timeout = settings.database_timeout_seconds
    async with open_admin(settings, pool, direct_connections(settings), clock, caller="webhooks") as admin:
        keeper = Keeper(
            pool, admin, uri, timeout, settings.subscription_check_seconds, settings.retention_days
        )
        if not settings.reconcile_every_seconds:
            yield ApiWork(keeper)
            return
        reconciler = reconciler_of(
            settings, pool, admin, producer, tombstones, clock, faults or FaultPoints()
        )
        forgetting = Forgetting(pool, clock, timeout, timedelta(days=settings.retention_days))
        yield ApiWork(keeper, reconciler, ReconcileGauges(pool, clock, timeout), forgetting)


def reconciler_of(
    settings: Settings,
    pool: asyncpg.Pool,
    admin: AdminApi,
    producer: Producer,
    tombstones: Tombstones,
    clock: Clock,
    faults: FaultPoints,
) -> Reconciler:
    """A reconciler by the settings."""
    timeout, days = settings.database_timeout_seconds, settings.retention_days
    every, grace = settings.reconcile_every_seconds, settings.reconcile_grace_seconds
    arrivals = Arrivals(pool, tombstones, clock, timeout, settings.settle_seconds)
    feeder = Feeder(pool, producer, tombstones, settings.shopify_api_version, timeout)
    return Reconciler(
        pool, admin, arrivals, feeder, clock, timeout, every, grace, days, faults, settings.reconcile_run_seconds
    )  # fmt: skip
