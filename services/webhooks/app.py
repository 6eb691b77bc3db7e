"""Puts services/webhooks together; the only file here that opens pools and connections."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from libs.common.clock import Clock, SystemClock
from libs.common.db import direct_connections, open_pool
from libs.common.deadlines import Deadlines
from libs.common.outbox.circuit import State
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.steps import Steps
from libs.common.privacy.tombstones import GRACE_SECONDS, Doorkeeper, Tombstones
from libs.common.runtime.broker import broker_of
from libs.common.runtime.consumer import Consumer
from libs.common.runtime.handlers import Registry
from libs.common.service import Note, Service, serve, until_signalled
from libs.common.shopify.signatures import WebhookVerifier
from libs.common.tables_store import tables_check
from libs.common.web import require_ops
from services.webhooks import store
from services.webhooks.api_work import open_api_work
from services.webhooks.config import Settings
from services.webhooks.consumers import registry
from services.webhooks.deletion_risk import DeletionRisk
from services.webhooks.privacy_store import HOLDINGS
from services.webhooks.rejected import open_rejected_log
from services.webhooks.routes import Endpoints
from services.webhooks.routes_ops import OpsEndpoints
from services.webhooks.routes_reconcile import ReconciliationEndpoints
from services.webhooks.routes_subscriptions import SubscriptionEndpoints
from services.webhooks.subscriptions_gauges import SubscriptionGauges

NAME = "webhooks"


_HANDLERS = 2  # messages that webhooks works on at once: there are few, and its requests come first


@asynccontextmanager
async def open_service(
    settings: Settings, *, faults: FaultPoints | None = None, grace: float = GRACE_SECONDS
) -> AsyncIterator[Service]:
    """Opens what the service needs, in the order of need; closing it finishes commits under way."""
    old = settings.shopify_api_secret_old
    verifier = WebhookVerifier(
        settings.shopify_api_secret.get_secret_value(), old.get_secret_value() if old else None
    )
    guard, clock = require_ops(settings.ops_token), SystemClock()
    keys, timeout = PrivacyKeys(settings.service_key), settings.database_timeout_seconds
    async with (
        open_pool(settings, name=f"shopbus {NAME}") as pool,
        open_producer(settings, schema=NAME, pool=pool, faults=faults) as producer,
        open_rejected_log(
            pool, keep=settings.rejected_keep, days=settings.retention_days, timeout=timeout
        ) as rejected,
    ):
        tombstones = Tombstones(pool, NAME, keys, clock, timeout)
        steps = Steps(
            HOLDINGS,
            pool,
            keys,
            clock,
            timeout,
            settings.retention_days,
            grace,
            faults=faults or FaultPoints(),
        )
        risk = DeletionRisk(clock)
        gauges = SubscriptionGauges(pool, risk, clock, timeout)
        async with (
            open_api_work(settings, pool, producer, tombstones, clock, faults) as api_work,
            _consumer(
                settings,
                registry(api_work.wake, steps.handlers()),
                pool,
                producer,
                clock,
                faults,
            ) as consumer,
            consumer.working(
                settings.shutdown_seconds,
                {
                    "webhooks tombstones": tombstones.follow,
                    "subscription gauges": gauges.run,
                    **api_work.parts(),
                },
            ),
        ):
            deadlines = Deadlines(settings.accept_timeout_seconds)
            doorkeeper = Doorkeeper(producer, tombstones)
            door = Endpoints(settings, verifier, doorkeeper, rejected, deadlines, clock, risk)
            yield Service(
                NAME,
                routes=[
                    *door.routes(),
                    *OpsEndpoints(pool, timeout).routes(guard),
                    *SubscriptionEndpoints(pool, timeout, api_work.keeper).routes(guard),
                    *ReconciliationEndpoints(settings, pool, clock, api_work.reconciler).routes(guard),
                ],
                checks={"database": tables_check(pool, timeout, store.NEEDED)},
                notes={
                    "route": _route_note(producer),
                    "work": consumer.state,
                    "subscriptions": api_work.note,
                },
            )


@asynccontextmanager
async def _consumer(
    settings: Settings,
    registry: Registry,
    pool: asyncpg.Pool,
    producer: Producer,
    clock: Clock,
    faults: FaultPoints | None,
) -> AsyncIterator[Consumer]:
    few = settings.model_copy(update={"consumer_concurrency": min(_HANDLERS, settings.consumer_concurrency)})
    longest = max(handler.timeout for handler in registry.handlers) + settings.consumer_lease_seconds
    async with open_pool(
        settings, name=f"shopbus {NAME} handlers", size=few.consumer_concurrency, longest_transaction=longest
    ) as handler_pool:
        yield Consumer(
            NAME, registry, pool, producer, few, connect=direct_connections(settings), clock=clock,
            handler_pool=handler_pool, open_broker=broker_of(settings, NAME), faults=faults,
        )  # fmt: skip


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await until_signalled(_run(settings))


async def _run(settings: Settings) -> None:
    async with open_service(settings) as service:
        await serve([service], settings)


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
