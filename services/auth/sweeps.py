"""What is done from time to time: shops that nobody calls keep their tokens, and what is over is deleted.

Any number of processes may do this at once: rows are taken with SKIP LOCKED, tokens in their shop's turn.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.token_box import CannotOpen
from services.auth import metrics, sessions_store, states_store, store
from services.auth.refusals import NeedsAuthorization, NotInstalled, TryLater
from services.auth.tokens import Due, Tokens

IDLE_WITHIN = timedelta(days=14)
"""A refresh token that ends sooner is used, so that its successor begins its 90 days."""

COUNT_SECONDS, TIDY_SECONDS, IDLE_SECONDS = 30.0, 300.0, 6 * 3600.0
_BATCH = 500

_log = logs.logger("auth")


@dataclass(frozen=True, slots=True)
class Sweeps:
    """The loops; each ends only when it is cancelled."""

    pool: asyncpg.Pool
    tokens: Tokens
    clock: Clock
    timeout: float

    async def count_for_ever(self) -> None:
        """Keeps the gauges current."""
        while True:
            try:
                await self.count()
            except DatabaseAway:
                _log.info("Sessions are not counted while Postgres is away.")
            await self.clock.sleep(COUNT_SECONDS)

    async def tidy_for_ever(self) -> None:
        """Deletes what is over."""
        while True:
            await self.clock.sleep(_about(TIDY_SECONDS))
            try:
                await self.tidy()
            except DatabaseAway:
                _log.info("Old sessions are not deleted while Postgres is away.")

    async def renew_for_ever(self) -> None:
        """Renews the tokens of idle shops."""
        while True:
            await self.clock.sleep(
                _about(60.0)
            )  # soon after the start too, for an installation that restarts daily
            try:
                await self.renew_idle()
            except DatabaseAway:
                _log.info("Idle shops' tokens are not renewed while Postgres is away.")
            await self.clock.sleep(_about(IDLE_SECONDS))

    async def count(self) -> None:
        """Reads the tables once; raises `DatabaseAway`."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                found = await sessions_store.stats(conn, self.clock.now())
        for kind in ("offline", "online"):
            for state, number in found[kind].items():
                metrics.SESSIONS.labels(kind, state).set(number)
        vault = self.tokens.vault
        for gauge, counts, ours, name in (
            (metrics.SEALED, found["keys"], vault.box.key_id, "first"),
            (metrics.MINTED, found["secrets"], vault.secret_id, "current"),
        ):
            gauge.labels(name).set(counts.get(ours, 0))
            gauge.labels("other").set(sum(counts.values()) - counts.get(ours, 0))

    async def tidy(self) -> None:
        """Deletes states that nobody came back with, and online sessions that are over; raises `DatabaseAway`."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                for kind, forget in (("states", states_store.forget), ("online", store.forget_online)):
                    deleted = _BATCH
                    while deleted == _BATCH:
                        deleted = await forget(conn, self.clock.now(), _BATCH)
                        metrics.SWEPT.labels(kind).inc(deleted)

    async def renew_idle(self) -> int:
        """Renews each token that would soon end for good; returns how many were renewed. Raises `DatabaseAway`."""
        renewed = 0
        for shop in await self._idle():
            try:
                usable = await self.tokens.renew(shop, Due(refresh_within=IDLE_WITHIN))
            except (NotInstalled, NeedsAuthorization, TryLater, CannotOpen) as error:
                _log.warning("An idle shop's token could not be renewed.", shop=shop, error=str(error))
                continue
            renewed += usable.renewed
        metrics.SWEPT.labels("idle").inc(renewed)
        return renewed

    async def _idle(self) -> list[str]:
        before: datetime = self.clock.now() + IDLE_WITHIN
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await store.idle(conn, before, 10 * _BATCH)


def _about(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)
