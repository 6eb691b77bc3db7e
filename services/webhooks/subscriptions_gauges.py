"""Shows drift and risk of the subscriptions as metrics."""

from dataclasses import dataclass

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.contracts.subscriptions import by_api
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from services.webhooks import metrics, subscriptions_store
from services.webhooks.deletion_risk import DeletionRisk

_EVERY_SECONDS = 15.0

_log = logs.logger("webhooks")


@dataclass(frozen=True, slots=True)
class SubscriptionGauges:
    """Brings the gauges up to date for as long as the service runs; those of the database are the same everywhere."""

    pool: asyncpg.Pool
    risk: DeletionRisk
    clock: Clock
    timeout: float

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.risk.show()
            try:
                await self.show_drift()
            except DatabaseAway:
                _log.info("The drift of subscriptions is not known while Postgres is away.")
            await self.clock.sleep(_EVERY_SECONDS)

    async def show_drift(self) -> None:
        """What the last check of each shop left behind."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                rows = await subscriptions_store.drift(conn)
                overdue = await subscriptions_store.overdue(conn)
        for gauge in (metrics.SUBSCRIPTION_DRIFT, metrics.SUBSCRIPTION_REFUSED):
            gauge.clear()
            for wanted in by_api():
                gauge.labels(wanted.topic).set(0)
        for row in rows:
            gauge = metrics.SUBSCRIPTION_REFUSED if row["refused"] else metrics.SUBSCRIPTION_DRIFT
            gauge.labels(metrics.topic_label(row["topic"])).inc(row["shops"])
        metrics.SUBSCRIPTION_OVERDUE.set(max(0.0, overdue))
