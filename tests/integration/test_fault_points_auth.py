"""Auth is killed at each of its fault points; what is left can be gone on with, and the shop is not locked out."""

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientConnectionError

from tests.integration.auth_kit import OTHER_SHOP, SHOP, TOKEN_KEY, running
from tests.integration.auth_processes import process, refreshing, rotating, seen_through
from tests.integration.shopify_stand_in import StandIn, standing_in

AGE = "UPDATE auth.sessions SET expires_at = now()"
KEYS = "SELECT count(DISTINCT key_id) FROM auth.sessions"
ANNOUNCED = """
SELECT count(*) FROM auth.outbox JOIN auth.messages USING (id) WHERE type = 'shop.installed' AND destination = 'worker'
"""
UNKNOWN_SECRETS = "UPDATE auth.sessions SET secret_id = NULL"
NEW_KEY = b64encode(bytes(range(1, 33))).decode()


@pytest.fixture
async def shopify() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database, min_size=1, max_size=4) as one:
        yield one


async def until_it_dies(work: Any) -> None:
    """Work that is cut short because the process is gone."""
    with pytest.raises(ClientConnectionError):
        await work


@pytest.mark.parametrize(
    "point", ["install state taken, code not sent", "token answered, not kept", "token kept, not committed"]
)
async def test_an_install_that_was_cut_short_can_be_done_again(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path, point: str
) -> None:
    async with process(database, shopify, tmp_path, dies_at=point) as dying:
        await until_it_dies(seen_through(dying, database, shopify, pool).install())
        assert await dying.died()
    async with running(database, shopify=shopify) as auth:
        assert (await auth.token())[0] == 404
        await auth.install()
        status, given = await auth.token()
        assert (status, given["access_token"]) == (200, shopify.shops[SHOP].access)


@pytest.mark.parametrize("point", ["token answered, not kept", "token kept, not committed"])
async def test_a_page_that_was_cut_short_can_load_again(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path, point: str
) -> None:
    async with process(database, shopify, tmp_path, dies_at=point) as dying:
        await until_it_dies(seen_through(dying, database, shopify, pool).exchange())
        assert await dying.died()
    async with running(database, shopify=shopify) as auth:
        assert (await auth.exchange())[0] == 200
        assert (await auth.token())[1]["access_token"] == shopify.shops[SHOP].access


@pytest.mark.parametrize("point", ["token answered, not kept", "token kept, not committed"])
async def test_a_renewal_that_was_cut_short_is_done_again_without_the_merchant(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path, point: str
) -> None:
    async with running(database, shopify=shopify) as auth:
        await auth.install()
    await pool.execute(AGE)
    async with process(database, shopify, tmp_path, dies_at=point) as dying:
        await until_it_dies(seen_through(dying, database, shopify, pool).token())
        assert await dying.died()
    async with running(database, shopify=shopify) as auth:
        status, given = await auth.token()
        assert (status, given["access_token"]) == (200, shopify.shops[SHOP].access)
    assert shopify.asked["refresh_token"] == 2


async def test_an_install_that_was_cut_short_after_its_commit_is_one(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with process(database, shopify, tmp_path, dies_at="token committed, not announced") as dying:
        await until_it_dies(seen_through(dying, database, shopify, pool).install())
        assert await dying.died()
    assert await pool.fetchval(ANNOUNCED) == 1
    async with running(database, shopify=shopify) as auth:
        assert (await auth.token())[1]["access_token"] == shopify.shops[SHOP].access
        await auth.install()
        assert await pool.fetchval("SELECT generation FROM auth.shops") == 1


async def test_a_renewal_that_was_cut_short_after_its_commit_is_one(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with running(database, shopify=shopify) as auth:
        await auth.install()
    await pool.execute(AGE)
    async with process(database, shopify, tmp_path, dies_at="token committed, not announced") as dying:
        await until_it_dies(seen_through(dying, database, shopify, pool).token())
        assert await dying.died()
    async with running(database, shopify=shopify) as auth:
        assert (await auth.token())[1]["access_token"] == shopify.shops[SHOP].access
    assert shopify.asked["refresh_token"] == 1


@pytest.mark.parametrize("point", ["token answered, not kept", "token kept, not committed"])
async def test_refreshing_every_store_that_was_cut_short_is_gone_on_with(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path, point: str
) -> None:
    async with running(database, shopify=shopify) as auth:
        await auth.install(SHOP)
        await auth.install(OTHER_SHOP)
    await pool.execute(UNKNOWN_SECRETS)
    assert await refreshing(database, shopify, tmp_path, dies_at=point) == -9
    assert await refreshing(database, shopify, tmp_path) == 0
    async with running(database, shopify=shopify) as auth:
        for shop in (SHOP, OTHER_SHOP):
            assert (await auth.token(shop))[1]["access_token"] == shopify.shops[shop].access
    assert await pool.fetchval("SELECT count(secret_id) FROM auth.sessions") == 2


async def test_a_rotation_of_keys_that_was_cut_short_is_gone_on_with(
    database: str, shopify: StandIn, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    keys = f"{NEW_KEY},{TOKEN_KEY}"
    async with running(database, shopify=shopify) as auth:
        await auth.install(SHOP)
        await auth.install(OTHER_SHOP)
    assert await rotating(database, shopify, tmp_path, keys, dies_at="sealed anew, not committed") == -9
    async with running(database, shopify=shopify) as auth:
        assert {(await auth.token(shop))[0] for shop in (SHOP, OTHER_SHOP)} == {200}
    assert await rotating(database, shopify, tmp_path, keys) == 0
    assert await pool.fetchval(KEYS) == 1
    async with running(database, shopify=shopify, token_keys=NEW_KEY) as auth:
        for shop in (SHOP, OTHER_SHOP):
            assert (await auth.token(shop))[1]["access_token"] == shopify.shops[shop].access
