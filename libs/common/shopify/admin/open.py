"""Opens the Admin API client of a process, with all that it needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import asyncpg

from libs.common.clock import Clock
from libs.common.db import Connect
from libs.common.service_token import ServiceKey
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.admin import metrics
from libs.common.shopify.admin.budgets import Budgets
from libs.common.shopify.admin.client import AdminClient
from libs.common.shopify.admin.config import AdminSettings
from libs.common.shopify.admin.watch import Watch
from libs.common.shopify.admin.wire import Wire
from libs.common.tasks import Part, background
from libs.common.token_client import TokenClient
from libs.common.token_drops import listen

_IDLE_SECONDS = 30.0  # for which an unused connection is kept


@asynccontextmanager
async def open_admin(
    settings: AdminSettings, pool: asyncpg.Pool, connect: Connect, clock: Clock, *, caller: str
) -> AsyncIterator[AdminClient]:
    """A client for all shops. `caller` is the service's name, which auth is told."""
    watch = Watch(settings.shopify_api_version, clock)
    async with _session() as http, _session() as inside:
        tokens = TokenClient(
            inside, settings.auth_url, ServiceKey(settings.service_key), caller=caller, clock=clock
        )
        budgets = Budgets(pool, clock, most_waiting=settings.api_waiting_per_shop)
        addresses = Addresses(settings.sandbox_store_url)
        wire = Wire(http, addresses, settings.shopify_api_version, clock, watch)
        metrics.AVAILABLE.set_function(budgets.emptiest)
        parts: dict[str, Part] = {
            "ended tokens": partial(listen, connect, tokens.drop, tokens.drop_all, clock),
            "unused budgets": budgets.forget_for_ever,
        }
        try:
            async with background(parts, clock):
                yield AdminClient(wire, tokens, budgets, clock, watch)
        finally:
            await budgets.close()
            await tokens.close()


def _session() -> aiohttp.ClientSession:
    """Without a limit of connections, which would let the calls of one slow shop hold up another's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
        headers={"User-Agent": "shopbus"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )
