"""A webhooks service that stores nothing, or one row at a time: what ours is compared with."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from libs.common import logs
from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft, Receipt
from libs.common.contracts.topology import Lane
from libs.common.db import connection, open_pool
from libs.common.deadlines import Deadlines
from libs.common.ids import IdFactory
from libs.common.outbox import put_store
from libs.common.outbox.put_store import Outgoing
from libs.common.service import Service, serve, start
from libs.common.shopify.signatures import WebhookVerifier
from services.webhooks.config import Settings
from services.webhooks.deletion_risk import DeletionRisk
from services.webhooks.rejected import open_rejected_log
from services.webhooks.routes import Endpoints
from services.webhooks.service import Accepts


class Nothing:
    """Accepts without storing."""

    def __init__(self, _: asyncpg.Pool) -> None:
        self._ids = IdFactory()

    async def accept(self, _: Draft) -> Receipt:
        return Receipt(self._ids.new(), duplicate=False)


class OneInsert:
    """Accepts with one statement, and so one commit, for each request."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._ids, self._clock, self._pool = IdFactory(), SystemClock(), pool

    async def accept(self, draft: Draft) -> Receipt:
        out = Outgoing(
            self._ids.new(),
            draft,
            Lane.DEFAULT,
            ("worker",),
            leased=False,
            time=draft.time or self._clock.now(),
        )
        async with connection(self._pool, 3) as conn:
            await put_store.put(conn, "webhooks", [out], holder="", lease_seconds=0)
        return Receipt(out.id, duplicate=False)


SIDES: dict[str, Callable[[asyncpg.Pool], Accepts]] = {"nothing": Nothing, "insert": OneInsert}


@asynccontextmanager
async def opened(side: str, settings: Settings) -> AsyncIterator[Service]:
    """The service's own door with another store behind it."""
    verifier = WebhookVerifier(settings.shopify_api_secret.get_secret_value())
    async with (
        open_pool(settings) as pool,
        open_rejected_log(pool, keep=10, days=1, timeout=3) as rejected,
    ):
        accepts = SIDES[side](pool)
        deadlines = Deadlines(settings.accept_timeout_seconds)
        clock = SystemClock()
        door = Endpoints(settings, verifier, accepts, rejected, deadlines, clock, DeletionRisk(clock))
        yield Service("webhooks", routes=door.routes())


async def _run(side: str, settings: Settings) -> None:
    async with opened(side, settings) as service:
        await serve([service], settings)


if __name__ == "__main__":
    loaded = Settings.load()
    logs.configure(loaded.log_level, loaded.log_format)
    start(_run(sys.argv[1], loaded))
