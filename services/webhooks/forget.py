"""Forgets what the reconciler knows and is older than the retention: of every shop, also of those that are gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from services.webhooks import forget_store
from services.webhooks.forget_store import WALKS, Key, Walk

_EVERY_SECONDS = 6 * 3600.0
_AWAY_SECONDS = 60.0
_AT_ONCE = 1_000  # rows that are looked at in one transaction
_REST_SECONDS = 0.05  # between two of them

_log = logs.logger("webhooks")


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Any number of processes may do it: none waits for another."""

    pool: asyncpg.Pool
    clock: Clock
    timeout: float
    keep: timedelta
    at_once: int = _AT_ONCE

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            nap = _EVERY_SECONDS
            try:
                await self.forget()
            except DatabaseAway:
                _log.info("What is old is not forgotten while Postgres is away.")
                nap = _AWAY_SECONDS
            await self.clock.sleep(nap)

    async def forget(self) -> None:
        """All tables once, from their beginning to their end."""
        for walk in WALKS:
            after: Key | None = walk.first
            while after is not None:
                after = await self._step(walk, after)
                await self.clock.sleep(_REST_SECONDS)

    async def _step(self, walk: Walk, after: Sequence[object]) -> Key | None:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await forget_store.forget(conn, walk, after, self.keep, self.at_once)
