"""The token client and auth, with Postgres telling the one what the other did."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from libs.common.clock import SystemClock
from libs.common.db import direct_connections, open_pool
from libs.common.outbox.open import open_producer
from libs.common.service_token import ServiceKey
from libs.common.token_client import NeedsAuthorization, NotInstalled, TokenClient
from libs.common.token_drops import listen
from tests.integration.auth_kit import OTHER_SHOP, SERVICE_KEY, SHOP, Running, running
from tests.integration.test_auth_uninstall import tell
from tests.waiting import poll

OVER = "UPDATE auth.sessions SET expires_at = now(), refresh_expires_at = now()"


@asynccontextmanager
async def serving_tokens(database: str) -> AsyncIterator[tuple[Running, TokenClient]]:
    """Auth with a shop that has the app, and a worker's client that hears of ended tokens."""
    async with running(database) as auth:
        await auth.install()
        key, clock = ServiceKey(SecretStr(SERVICE_KEY)), SystemClock()
        client = TokenClient(auth.client, str(auth.client._base_url), key, caller="worker", clock=clock)
        heard = asyncio.Event()

        def drop_all() -> None:
            client.drop_all()
            heard.set()

        connect = direct_connections(auth.settings)
        task = asyncio.create_task(listen(connect, client.drop, drop_all, clock))
        await heard.wait()
        try:
            yield auth, client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()


async def test_a_token_is_kept_until_auth_has_another_one(database: str) -> None:
    async with serving_tokens(database) as (auth, client):
        first = await client.token(SHOP)
        assert first.access_token == auth.shopify.shops[SHOP].access
        assert await client.token(SHOP) == first
        second = await client.renewed(first)
        assert second.access_token == auth.shopify.shops[SHOP].access != first.access_token
        assert second.version > first.version
        assert (await client.token(SHOP)).access_token == second.access_token


async def test_an_uninstall_reaches_every_process_that_keeps_the_token(database: str) -> None:
    async with serving_tokens(database) as (auth, client):
        await client.token(SHOP)
        auth.shopify.uninstall(SHOP)
        async with (
            open_pool(auth.settings) as pool,
            open_producer(auth.settings, schema="webhooks", pool=pool) as webhooks,
        ):
            await tell(auth, webhooks, "uninstalled", datetime.now(UTC) + timedelta(seconds=10))
        await poll(lambda: client.statistics().size == 0)
        with pytest.raises(NotInstalled):
            await client.token(SHOP)


async def test_says_what_is_to_be_done(database: str) -> None:
    async with serving_tokens(database) as (auth, client):
        with pytest.raises(NotInstalled):
            await client.token(OTHER_SHOP)
        await auth.pool.execute(OVER)
        with pytest.raises(NeedsAuthorization):
            await client.token(SHOP)
