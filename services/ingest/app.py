"""Puts services/ingest together; the only file here that opens pools and connections."""

import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import asyncpg

from libs.common.clock import Clock, SystemClock
from libs.common.db import connection, database_away_named, direct_connections, open_pool
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.steps import Steps
from libs.common.privacy.tombstones import GRACE_SECONDS, Tombstones
from libs.common.runtime.broker import broker_of
from libs.common.runtime.consumer import Consumer
from libs.common.runtime.handlers import Registry
from libs.common.service import Service, serve, until_signalled
from libs.common.session_settings import session_guard
from libs.common.shopify.admin.open import open_admin
from libs.common.shopify.pixel_check import fits
from libs.common.tables_store import tables_check
from libs.common.tasks import Part
from libs.common.web import require_ops
from services.ingest import store
from services.ingest.config import Settings
from services.ingest.consumers import registry
from services.ingest.events import Bounds
from services.ingest.extensions import Extensions
from services.ingest.frames import Frames
from services.ingest.keys import Find, Keys
from services.ingest.limits import Lease, Limit, Limits
from services.ingest.pixels import Pixels
from services.ingest.privacy_store import HOLDINGS
from services.ingest.routes import Endpoints
from services.ingest.routes_extension import ExtensionEndpoints
from services.ingest.routes_ops import OpsEndpoints
from services.ingest.service import Ingest
from services.ingest.store import Ask, KnownKey
from services.ingest.upkeep import Upkeep
from services.ingest.versions import Sightings, open_sightings

NAME = "ingest"
_YOUNG_OBJECTS = 50_000  # before a collection of the youngest
_HANDLERS = 4  # messages that ingest works on at once: it hears of installs only


@asynccontextmanager
async def open_service(
    settings: Settings, *, faults: FaultPoints | None = None, grace: float = GRACE_SECONDS
) -> AsyncIterator[Service]:
    """Opens ingest and starts working; closing it finishes commits under way."""
    clock, timeout = SystemClock(), settings.database_timeout_seconds
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, name=f"shopbus {NAME}"))
        producer = await stack.enter_async_context(
            open_producer(settings, schema=NAME, pool=pool, clock=clock, faults=faults)
        )
        keys = Keys(_find_keys(pool, timeout), settings.ingest_key_seconds)
        admin = await stack.enter_async_context(
            open_admin(settings, pool, direct_connections(settings), clock, caller=NAME)
        )
        extensions = _extensions(settings, pool, keys, Pixels(admin), clock)
        privacy = PrivacyKeys(settings.service_key)
        tombstones = Tombstones(pool, NAME, privacy, clock, timeout)
        steps = Steps(
            HOLDINGS,
            pool,
            privacy,
            clock,
            timeout,
            settings.retention_days,
            grace,
            faults=faults or FaultPoints(),
        )
        handlers = registry(extensions, steps.handlers())
        consumer = await stack.enter_async_context(
            _consumer(settings, handlers, pool, producer, clock, faults)
        )
        sightings = await stack.enter_async_context(open_sightings(pool, clock, timeout))
        upkeep = Upkeep(pool, clock, timeout, settings.quarantine_keep, settings.retention_days)
        beside: dict[str, Part] = {
            "ingest versions": sightings.run,
            "ingest tidying": upkeep.run,
            "ingest tombstones": tombstones.follow,
        }
        await stack.enter_async_context(consumer.working(settings.shutdown_seconds, beside))
        ingest = await stack.enter_async_context(
            _ingest(settings, pool, producer, keys, sightings, tombstones, clock, faults)
        )
        yield Service(
            NAME,
            routes=[
                *Endpoints(settings, ingest).routes(),
                *OpsEndpoints(pool, timeout).routes(require_ops(settings.ops_token)),
                *ExtensionEndpoints(extensions).routes(session_guard(settings, clock).fetched),
            ],
            checks={"database": tables_check(pool, timeout, store.NEEDED)},
            notes={"work": consumer.state},
        )


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await until_signalled(_run(settings))


async def _run(settings: Settings) -> None:
    async with open_service(settings) as service:
        _collect_seldom()
        await serve([service], settings)


def _collect_seldom() -> None:
    """Parsed events are many objects, soon gone and in no cycle: looking for cycles cost as much as parsing them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


@asynccontextmanager
async def _ingest(
    settings: Settings,
    pool: asyncpg.Pool,
    producer: Producer,
    keys: Keys,
    sightings: Sightings,
    tombstones: Tombstones,
    clock: Clock,
    faults: FaultPoints | None,
) -> AsyncIterator[Ingest]:
    timeout = settings.database_timeout_seconds
    lease = _lease(pool, timeout)
    by_key = Limits("key", Limit(settings.ingest_key_per_second, settings.ingest_key_burst), lease, clock)
    by_address = Limits(
        "from", Limit(settings.ingest_address_per_second, settings.ingest_address_burst), lease, clock
    )
    frames = Frames(
        pool, producer, timeout=timeout, commit_seconds=settings.ingest_commit_seconds, faults=faults
    )
    bounds = Bounds(
        settings.ingest_event_bytes,
        settings.ingest_text_length,
        int(settings.ingest_skew_seconds * 1000),
        int(settings.ingest_late_seconds * 1000),
    )
    try:
        yield Ingest(
            keys,
            by_key,
            by_address,
            frames,
            sightings,
            tombstones,
            bounds,
            fits,
            clock,
            settings.ingest_events,
        )
    finally:
        for part in (frames, keys, by_key, by_address):
            await part.close()


def _extensions(
    settings: Settings, pool: asyncpg.Pool, keys: Keys, shopify: Pixels, clock: Clock
) -> Extensions:
    return Extensions(
        pool, keys, shopify, clock, settings.database_timeout_seconds, settings.public_url,
        timedelta(hours=settings.ingest_key_overlap_hours),
    )  # fmt: skip


def _find_keys(pool: asyncpg.Pool, timeout: float) -> Find:
    async def find(wanted: Sequence[str]) -> Mapping[str, KnownKey]:
        async with connection(pool, timeout) as conn:
            with database_away_named():
                return await store.keys(conn, wanted)

    return find


def _lease(pool: asyncpg.Pool, timeout: float) -> Lease:
    async def lease(asks: Sequence[Ask]) -> Mapping[str, float]:
        async with connection(pool, timeout) as conn:
            with database_away_named():
                return await store.lease(conn, asks)

    return lease


@asynccontextmanager
async def _consumer(
    settings: Settings,
    handlers: Registry,
    pool: asyncpg.Pool,
    producer: Producer,
    clock: Clock,
    faults: FaultPoints | None,
) -> AsyncIterator[Consumer]:
    longest = max(handler.timeout for handler in handlers.handlers) + settings.consumer_lease_seconds
    few = settings.model_copy(update={"consumer_concurrency": min(_HANDLERS, settings.consumer_concurrency)})
    async with open_pool(
        settings, name=f"shopbus {NAME} handlers", size=few.consumer_concurrency, longest_transaction=longest
    ) as handler_pool:
        yield Consumer(
            NAME, handlers, pool, producer, few, connect=direct_connections(settings), clock=clock,
            handler_pool=handler_pool, open_broker=broker_of(settings, NAME), faults=faults,
        )  # fmt: skip
