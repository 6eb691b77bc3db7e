"""Puts services/worker together; the only file here that opens pools and connections."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import asyncpg

from libs.common.clock import Clock, SystemClock
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import CONSUMERS, SOURCES
from libs.common.db import direct_connections, open_pool
from libs.common.ids import IdFactory
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.gauges import gauges_loop
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.outbox.retention import retention_loop
from libs.common.runtime.broker import broker_of
from libs.common.runtime.consumer import Consumer, Heard
from libs.common.runtime.handlers import Registry, collect, discover
from libs.common.runtime.schedules import Schedules
from libs.common.runtime.watchdog import Watchdog
from libs.common.service import Service, serve, until_signalled
from libs.common.session_settings import session_guard
from libs.common.shopify.admin.client import AdminClient
from libs.common.shopify.admin.open import open_admin
from libs.common.tables_store import tables_check
from libs.common.tasks import Part
from libs.common.web import require_ops
from services.worker import routes, routes_privacy, store
from services.worker.backfill_open import open_backfills
from services.worker.backfill_steps import Pace
from services.worker.backfills import Backfills
from services.worker.config import Settings
from services.worker.consumers import with_own
from services.worker.data import Data
from services.worker.data_cache import Bounds, DataCache
from services.worker.data_drops import Drops
from services.worker.events import Events
from services.worker.pixel_partitions import Partitions
from services.worker.privacy import open_privacy
from services.worker.routes_backfills import BackfillEndpoints
from services.worker.routes_data import DataEndpoints
from services.worker.routes_events import EventsEndpoints
from services.worker.service import Books
from services.worker.sweep import Sweep

NAME = "worker"


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    registry: Registry | None = None,
    faults: FaultPoints | None = None,
    pace: Pace | None = None,
) -> AsyncIterator[Service]:
    """Opens the worker and starts working; closing it lets handlers finish within `shutdown_seconds`."""
    handlers = registry or collect(discover(*settings.handler_packages))
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, name=f"shopbus {NAME}"))
        privacy = open_privacy(settings, pool, clock, faults)
        registry = privacy.registry(handlers)
        handler_pool = await stack.enter_async_context(_handler_pool(settings, registry))
        producer = await stack.enter_async_context(
            open_producer(settings, schema=NAME, pool=pool, clock=clock, faults=faults)
        )
        books = Books(pool, clock, settings.database_timeout_seconds, faults=faults or FaultPoints())
        admin = await stack.enter_async_context(
            open_admin(settings, pool, direct_connections(settings), clock, caller=NAME)
        )
        sweep = Sweep(
            pool, registry, clock,
            timeout=settings.database_timeout_seconds, faults=faults or FaultPoints(),
        )  # fmt: skip
        cache = DataCache(_bounds(settings), clock)
        stack.push_async_callback(cache.close)
        drops = Drops(cache, pool, direct_connections(settings), clock, settings.database_timeout_seconds)
        registry = drops.registry(with_own(registry, sweep))
        backfills = await stack.enter_async_context(
            open_backfills(settings, books, producer, admin, privacy.cases.keys, clock, books.faults, pace)
        )

        def heard(message: Message) -> None:
            drops.heard(message)
            backfills.hints.heard(message)

        consumer = _consumer(settings, registry, pool, handler_pool, producer, clock, faults, admin, heard)
        own = {"privacy": privacy.keep_house, **drops.parts(), **backfills.parts()}
        await stack.enter_async_context(_working(consumer, settings, registry, pool, producer, clock, own))
        guard, session = require_ops(settings.ops_token), session_guard(settings, clock).fetched
        yield Service(
            NAME,
            routes=[
                *routes.routes(books, guard),
                *routes_privacy.routes(privacy, settings, guard),
                *BackfillEndpoints(Backfills(books, IdFactory(clock))).routes(guard),
                *EventsEndpoints(Events(books), clock).routes(session),
                *DataEndpoints(Data(admin, cache, clock)).routes(session, guard),
            ],
            checks={"database": tables_check(pool, settings.database_timeout_seconds, store.NEEDED)},
            notes={"work": consumer.state},
        )


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await until_signalled(_run(settings))


async def _run(settings: Settings) -> None:
    async with open_service(settings) as service:
        await serve([service], settings)


def _bounds(settings: Settings) -> Bounds:
    size = settings.data_cache_megabytes * 1024 * 1024
    return Bounds(settings.data_cache_entries, size, settings.data_fresh_seconds, settings.data_stale_seconds)


def _handler_pool(settings: Settings, registry: Registry) -> AbstractAsyncContextManager[asyncpg.Pool]:
    """Handlers' transactions have no deadline per statement: a handler's own timeout bounds them."""
    longest = max((handler.timeout for handler in registry.handlers), default=0.0)
    return open_pool(
        settings, name=f"shopbus {NAME} handlers", size=settings.consumer_concurrency,
        longest_transaction=longest + settings.consumer_lease_seconds,
    )  # fmt: skip


def _consumer(
    settings: Settings,
    registry: Registry,
    pool: asyncpg.Pool,
    handler_pool: asyncpg.Pool,
    producer: Producer,
    clock: Clock,
    faults: FaultPoints | None,
    admin: AdminClient,
    heard: Heard,
) -> Consumer:
    return Consumer(
        NAME, registry, pool, producer, settings, connect=direct_connections(settings), clock=clock,
        handler_pool=handler_pool, open_broker=broker_of(settings, NAME), faults=faults, admin=admin,
        heard=heard,
    )  # fmt: skip


@asynccontextmanager
async def _working(
    consumer: Consumer,
    settings: Settings,
    registry: Registry,
    pool: asyncpg.Pool,
    producer: Producer,
    clock: Clock,
    own: Mapping[str, Part],
) -> AsyncIterator[None]:
    partitions = Partitions(pool, clock, settings.database_timeout_seconds, settings.pixel_retention_days)
    watchdog = Watchdog(asyncio.get_running_loop(), limit=settings.consumer_blocked_seconds)
    watchdog.start()
    parts: dict[str, Part] = {
        "schedules": Schedules(NAME, registry.handlers, pool, producer, clock).run,
        "pixel partitions": partitions.run,
        "gauges": partial(gauges_loop, pool, SOURCES, CONSUMERS, clock),
        "retention": partial(retention_loop, pool, SOURCES, CONSUMERS, settings.retention_days, clock),
        **own,
    }
    try:
        async with consumer.working(settings.shutdown_seconds, parts):
            yield
    finally:
        watchdog.stop()
