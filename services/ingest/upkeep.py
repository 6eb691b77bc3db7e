"""What the service tidies up: the quarantine, and limits that nobody uses."""

import random
from dataclasses import dataclass

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from services.ingest import store

BATCH = 2_000
_EVERY_SECONDS = 60.0

_log = logs.logger("ingest")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Tidies up for as long as the service runs. Any number of processes may do it."""

    pool: asyncpg.Pool
    clock: Clock
    timeout: float
    keep: int  # events in quarantine
    days: int

    async def run(self) -> None:
        """Tidies up every minute or so, until cancelled."""
        while True:
            await self.clock.sleep(_EVERY_SECONDS * random.uniform(0.5, 1.5))
            try:
                await self.tidy()
            except DatabaseAway:
                _log.info("Nothing is tidied up while Postgres is away.")

    async def tidy(self) -> None:
        """Deletes what is too much or too old."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                while await store.forget_quarantine(conn, self.keep, self.days, BATCH) == BATCH:
                    pass
                while await store.forget_limits(conn, BATCH) == BATCH:
                    pass
