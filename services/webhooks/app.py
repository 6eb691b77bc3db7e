"""Puts services/webhooks together; the only file here that opens pools and connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from libs.common.clock import SystemClock
from libs.common.db import connection, database_away_named, open_pool
from libs.common.errors import DatabaseAway
from libs.common.outbox.circuit import State
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.service import Check, Note, Service, serve, until_signalled
from libs.common.shopify.signatures import WebhookVerifier
from libs.common.web import require_ops
from services.webhooks import store
from services.webhooks.config import Settings
from services.webhooks.deadlines import Deadlines
from services.webhooks.rejected import open_rejected_log
from services.webhooks.routes import Endpoints
from services.webhooks.routes_ops import OpsEndpoints

NAME = "webhooks"


@asynccontextmanager
async def open_service(settings: Settings, *, faults: FaultPoints | None = None) -> AsyncIterator[Service]:
    """Opens what the service needs, in the order of need; closing it finishes commits under way."""
    old = settings.shopify_api_secret_old
    verifier = WebhookVerifier(
        settings.shopify_api_secret.get_secret_value(), old.get_secret_value() if old else None
    )
    guard = require_ops(settings.ops_token)
    timeout = settings.database_timeout_seconds
    async with (
        open_pool(settings, name=f"shopbus {NAME}") as pool,
        open_producer(settings, schema=NAME, pool=pool, faults=faults) as producer,
        open_rejected_log(
            pool, keep=settings.rejected_keep, days=settings.retention_days, timeout=timeout
        ) as rejected,
    ):
        deadlines = Deadlines(settings.accept_timeout_seconds)
        door = Endpoints(settings, verifier, producer, rejected, deadlines, SystemClock())
        yield Service(
            NAME,
            routes=[*door.routes(), *OpsEndpoints(pool, timeout).routes(guard)],
            checks={"database": _database_check(pool, timeout)},
            notes={"route": _route_note(producer)},
        )


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await until_signalled(_run(settings))


async def _run(settings: Settings) -> None:
    async with open_service(settings) as service:
        await serve([service], settings)


def _database_check(pool: asyncpg.Pool, timeout: float) -> Check:
    async def check() -> str | None:
        try:
            async with connection(pool, timeout) as conn:
                with database_away_named():
                    missing = await store.missing_tables(conn)
        except DatabaseAway:
            return "the database is away"
        return f"{', '.join(missing)} missing; run: shopbus migrate" if missing else None

    return check


def _route_note(producer: Producer) -> Note:
    def note() -> str | None:
        if producer.broker is None:
            return "RABBITMQ_URL is not set: work takes the Postgres route"
        circuit = producer.broker.circuit
        return (
            f"RabbitMQ is away ({circuit.reason}): work takes the Postgres route"
            if circuit.state is State.OPEN
            else None
        )

    return note
