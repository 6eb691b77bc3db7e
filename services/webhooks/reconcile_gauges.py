"""Shows as metrics how far every shop is proven to be complete."""

from dataclasses import dataclass

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from services.webhooks import metrics, reconcile_store
from services.webhooks.reconcile_plan import judged

_EVERY_SECONDS = 15.0

_log = logs.logger("webhooks")


@dataclass(frozen=True, slots=True)
class ReconcileGauges:
    """They are the same in every process."""

    pool: asyncpg.Pool
    clock: Clock
    timeout: float

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.show()
            except DatabaseAway:
                _log.info("How complete shops are is not known while Postgres is away.")
            await self.clock.sleep(_EVERY_SECONDS)

    async def show(self) -> None:
        """What the last runs left behind."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                unproven, age, missing = await reconcile_store.gauges(conn)
        metrics.RECONCILE_UNPROVEN.set(unproven)
        metrics.RECONCILE_AGE.set(age)
        metrics.RECONCILE_MISSING.clear()
        for family in judged():
            metrics.RECONCILE_MISSING.labels(family.update).set(0)
        for topic, number in missing.items():
            metrics.RECONCILE_MISSING.labels(metrics.topic_label(topic)).set(number)
