"""Puts services/auth together; the only file here that opens pools and connections."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import asyncpg

from libs.common.clock import Clock, SystemClock
from libs.common.db import direct_connections, open_pool
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.steps import Steps
from libs.common.runtime.broker import broker_of
from libs.common.runtime.consumer import Consumer
from libs.common.service import Note, Service, serve, until_signalled
from libs.common.service_token import ServiceKey
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.launch import QueryVerifier
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.session_token import SessionTokenVerifier
from libs.common.tables_store import tables_check
from libs.common.tasks import Part
from libs.common.token_box import TokenBox
from libs.common.web import require_ops
from libs.common.web_session import SessionGuard
from services.auth import store
from services.auth.config import Settings
from services.auth.consumers import registry
from services.auth.endpoint import TokenEndpoint
from services.auth.privacy import Reinstalls
from services.auth.privacy_store import HOLDINGS
from services.auth.routes import Endpoints
from services.auth.routes_ops import InternalEndpoints, OpsEndpoints
from services.auth.service import App, Auth
from services.auth.sessions import Sessions
from services.auth.states import States
from services.auth.states_store import Most
from services.auth.sweeps import Sweeps
from services.auth.tokens import Tokens
from services.auth.turns import Turns
from services.auth.vault import Vault

NAME = "auth"
_HANDLERS = 4  # messages that auth works on at once: it gets few, and each waits for its shop's turn


@asynccontextmanager
async def open_service(settings: Settings, *, faults: FaultPoints | None = None) -> AsyncIterator[Service]:
    """Opens auth and starts working; closing it lets handlers finish within `shutdown_seconds`."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, name=f"shopbus {NAME}"))
        producer = await stack.enter_async_context(
            open_producer(settings, schema=NAME, pool=pool, clock=clock, faults=faults)
        )
        tokens = await stack.enter_async_context(open_tokens(settings, pool, producer, clock, faults=faults))
        auth = _auth(settings, pool, tokens, clock, faults)
        consumer = await stack.enter_async_context(_consumer(settings, auth, pool, producer, clock, faults))
        sweeps = Sweeps(pool, tokens, clock, settings.database_timeout_seconds)
        await stack.enter_async_context(consumer.working(settings.shutdown_seconds, _beside(sweeps)))
        yield Service(
            NAME,
            routes=[
                *_endpoints(settings, auth, pool, tokens, clock).routes(),
                *OpsEndpoints(_sessions(settings, pool, tokens, clock)).routes(
                    require_ops(settings.ops_token)
                ),
                *InternalEndpoints(tokens, ServiceKey(settings.service_key), clock).routes(),
            ],
            checks={"database": tables_check(pool, settings.database_timeout_seconds, store.NEEDED)},
            notes={"work": consumer.state, "address": _address_note(settings)},
        )


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await until_signalled(_run(settings))


async def _run(settings: Settings) -> None:
    async with open_service(settings) as service:
        await serve([service], settings)


@asynccontextmanager
async def open_tokens(
    settings: Settings,
    pool: asyncpg.Pool,
    producer: Producer,
    clock: Clock,
    *,
    faults: FaultPoints | None = None,
) -> AsyncIterator[Tokens]:
    """What gets, renews and gives out tokens, with its own connections to Shopify."""
    at_once = max(1, settings.database_pool_size // 2)  # the other half is for those who only read
    turns = Turns(pool, producer, clock, seconds=settings.token_lock_seconds, at_once=at_once, faults=faults)
    app = AppCredentials(settings.shopify_api_key, settings.shopify_api_secret.get_secret_value())
    async with aiohttp.ClientSession(
        headers={"User-Agent": "shopbus"}, cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        endpoint = TokenEndpoint(http, addresses(settings), clock, settings.shopify_timeout_seconds)
        box = TokenBox.parse(settings.token_keys.get_secret_value())
        yield Tokens(
            pool, turns, endpoint, app, Vault(box, app.secret_id), clock,
            timeout=settings.database_timeout_seconds, faults=faults,
        )  # fmt: skip


def addresses(settings: Settings) -> Addresses:
    """Where Shopify is, or what stands in for it."""
    return Addresses(settings.sandbox_store_url)


def _auth(
    settings: Settings, pool: asyncpg.Pool, tokens: Tokens, clock: Clock, faults: FaultPoints | None
) -> Auth:
    scopes = Scopes.parse(settings.shopify_scopes)
    most = Most(settings.install_limit_shop, settings.install_limit_address)
    app = App(tokens.app, scopes, addresses(settings), settings.public_url, most)
    timeout = settings.database_timeout_seconds
    return Auth(pool, tokens, States(settings.service_key), app, clock, timeout=timeout, faults=faults)


def _endpoints(settings: Settings, auth: Auth, pool: asyncpg.Pool, tokens: Tokens, clock: Clock) -> Endpoints:
    old = settings.shopify_api_secret_old
    secrets = settings.shopify_api_secret.get_secret_value(), old.get_secret_value() if old else None
    key = settings.shopify_api_key
    guard = SessionGuard(
        SessionTokenVerifier(key, *secrets), auth.app.addresses, key, settings.public_url, clock
    )
    sessions = _sessions(settings, pool, tokens, clock)
    return Endpoints(auth, sessions, QueryVerifier(*secrets), guard, clock, settings.auth_proxies)


def _sessions(settings: Settings, pool: asyncpg.Pool, tokens: Tokens, clock: Clock) -> Sessions:
    return Sessions(pool, tokens.turns, clock, settings.database_timeout_seconds)


@asynccontextmanager
async def _consumer(
    settings: Settings,
    auth: Auth,
    pool: asyncpg.Pool,
    producer: Producer,
    clock: Clock,
    faults: FaultPoints | None,
) -> AsyncIterator[Consumer]:
    handlers = registry(auth, _privacy(settings, auth, pool, clock, faults).handlers())
    longest = max(handler.timeout for handler in handlers.handlers) + settings.consumer_lease_seconds
    few = settings.model_copy(update={"consumer_concurrency": min(_HANDLERS, settings.consumer_concurrency)})
    async with open_pool(
        settings, name=f"shopbus {NAME} handlers", size=few.consumer_concurrency, longest_transaction=longest
    ) as handler_pool:
        yield Consumer(
            NAME, handlers, pool, producer, few, connect=direct_connections(settings), clock=clock,
            handler_pool=handler_pool, open_broker=broker_of(settings, NAME), faults=faults,
        )  # fmt: skip


def _privacy(
    settings: Settings, auth: Auth, pool: asyncpg.Pool, clock: Clock, faults: FaultPoints | None
) -> Steps:
    keys, timeout = PrivacyKeys(settings.service_key), settings.database_timeout_seconds
    reinstalls = Reinstalls(auth, pool, timeout)
    return Steps(
        HOLDINGS, pool, keys, clock, timeout, settings.retention_days, grace=0.0, objection=reinstalls.object,
        prepare=reinstalls.find_out, faults=faults or FaultPoints(),
    )  # fmt: skip


def _beside(sweeps: Sweeps) -> dict[str, Part]:
    return {
        "auth counts": sweeps.count_for_ever,
        "auth tidying": sweeps.tidy_for_ever,
        "auth renewals": sweeps.renew_for_ever,
    }


def _address_note(settings: Settings) -> Note:
    def note() -> str | None:
        if settings.app_url is not None or settings.sandbox_store_url is not None:
            return None
        return f"APP_URL is not set: merchants are sent back to {settings.public_url}"

    return note
