"""A new client secret, step by step, until the old one is revoked and every token is one of the new."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from libs.common.errors import DatabaseAway
from libs.common.outbox.faults import FaultPoints
from services.auth.app import open_tokens
from services.cli import token_refresh
from services.cli.token_refresh import NoneRefreshed, Pace
from services.cli.token_work import Tools
from tests.clocks import TurnedClock
from tests.integration.auth_kit import OTHER_SHOP, SHOP, Running, running, session_token
from tests.integration.shopify_stand_in import SECRET
from tests.integration.test_auth_sessions import gauge, swept
from tests.integration.test_auth_upkeep import in_command, plain
from tests.integration.test_cli_tokens import shopbus

NEW = "the client secret that takes its place"
SHOPS = [f"shop-{number:03}.myshopify.com" for number in range(12)]
MINTED = "SELECT count(DISTINCT secret_id) FROM auth.sessions"
FAST = 1_000.0


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        one.shopify.secrets.add(NEW)
        yield one


async def refresh(auth: Running, **changes: object) -> token_refresh.Refreshed:
    """What `shopbus tokens refresh` does."""
    done: token_refresh.Refreshed = await in_command(
        auth, token_refresh.refresh, FAST, **{"shopify_api_secret": NEW, **changes}
    )
    return done


async def test_every_store_outlives_the_old_secret(auth: Running, database: str) -> None:
    for shop in SHOPS:
        await auth.install(shop)
    await auth.exchange(SHOPS[0], online=True)
    async with running(
        database, shopify=auth.shopify, shopify_api_secret=NEW, shopify_api_secret_old=SECRET
    ) as both:
        await both.exchange(OTHER_SHOP, token=session_token(OTHER_SHOP, secret=SECRET))
        done = await refresh(auth)
        assert (done.done, done.failed, done.online, done.left) == (len(SHOPS), {}, 1, 0)
        auth.shopify.revoke(SECRET)
        for shop in (*SHOPS, OTHER_SHOP):
            status, given = await both.token(shop)
            assert (status, given["access_token"]) == (200, auth.shopify.shops[shop].access)
        assert (await both.exchange(SHOPS[0], online=True, token=session_token(SHOPS[0], secret=NEW)))[
            0
        ] == 200
    assert auth.shopify.asked["refresh_token"] == len(SHOPS)


async def test_it_goes_on_where_it_was_broken_off(auth: Running) -> None:
    for shop in SHOPS:
        await auth.install(shop)
    reached = 0

    async def die() -> None:
        nonlocal reached
        reached += 1
        if reached == 5:
            raise ConnectionResetError

    async def broken_off(tools: Tools) -> None:
        faults = FaultPoints({"token kept, not committed": die})
        pool, producer = tools.pool, tools.producer
        async with open_tokens(tools.settings, pool, producer, tools.clock, faults=faults) as dying:
            await token_refresh.refresh(replace(tools, tokens=dying), FAST)

    with pytest.raises(DatabaseAway):
        await in_command(auth, broken_off, shopify_api_secret=NEW)
    left = await in_command(auth, token_refresh.shops_left, shopify_api_secret=NEW)
    assert 0 < len(left) < len(SHOPS)
    assert (await refresh(auth)).done == len(left)
    auth.shopify.revoke(SECRET)
    for shop in SHOPS:
        assert (await auth.token(shop))[1]["access_token"] == auth.shopify.shops[shop].access


async def test_each_shop_has_one_lineage_while_services_renew_as_well(auth: Running, database: str) -> None:
    """Both ask for the same shops at once; no pair is shown twice, and what is held is what Shopify has."""
    for shop in SHOPS:
        await auth.install(shop)
    await auth.pool.execute("UPDATE auth.sessions SET expires_at = now()")
    async with running(database, shopify=auth.shopify, shopify_api_secret=NEW) as both:
        done, *answers = await asyncio.gather(refresh(auth), *(both.token(shop) for shop in SHOPS * 3))
    assert ({status for status, _ in answers}, done.failed) == ({200}, {})
    assert auth.shopify.asked["refresh_token"] == len(SHOPS)
    for shop in SHOPS:
        assert (await auth.token(shop))[1]["access_token"] == auth.shopify.shops[shop].access


async def test_it_rests_as_long_as_shopify_asks_and_comes_again(auth: Running) -> None:
    await auth.install()
    busy = iter([True, True, False])

    async def too_many(_: web.Request) -> web.StreamResponse | None:
        return web.Response(status=429, headers={"Retry-After": "0.2"}) if next(busy) else None

    auth.shopify.before = too_many
    done = await refresh(auth)
    assert (done.done, done.left, auth.shopify.asked["refresh_token"]) == (1, 0, 1)


async def test_an_answer_that_was_lost_costs_no_store_its_token(auth: Running) -> None:
    await auth.install()
    lost = iter([True, True, True, False])

    async def lose(_: web.Request) -> web.StreamResponse | None:
        return web.Response(status=520) if next(lost) else None

    auth.shopify.after = lose
    assert (await refresh(auth)).done == 1
    assert (await auth.token())[1]["access_token"] == auth.shopify.shops[SHOP].access


async def test_a_store_that_shopify_refuses_is_told_and_the_others_are_done(auth: Running) -> None:
    await auth.install(SHOP)
    await auth.install(OTHER_SHOP)
    auth.shopify.uninstall(SHOP)
    done = await refresh(auth)
    assert (done.done, list(done.failed), done.left) == (1, [SHOP], 0)
    assert (await refresh(auth)).failed == {}


async def test_a_wrong_secret_stops_it_before_every_store_is_asked(auth: Running) -> None:
    for shop in SHOPS:
        await auth.install(shop)
    with pytest.raises(NoneRefreshed, match="credentials"):
        await refresh(auth, shopify_api_secret="a typo")
    assert auth.shopify.asked["refresh_token"] < len(SHOPS) + 3
    assert (await auth.token(SHOPS[0]))[0] == 200


async def test_a_token_without_expiry_is_named_with_what_helps(auth: Running) -> None:
    await plain(auth, [OTHER_SHOP])
    done = await refresh(auth)
    assert "shopbus tokens migrate" in done.failed[OTHER_SHOP]
    assert done.left == 1


async def test_an_operator_sees_what_there_is_to_do_and_that_it_is_done(auth: Running) -> None:
    await auth.install(SHOP)
    await auth.install(OTHER_SHOP)
    command = ("tokens", "refresh")
    new = {"SHOPIFY_API_SECRET": NEW}
    found = "2 shops have a token that SHOPIFY_API_SECRET did not make\n"
    assert await shopbus(auth, *command, "--dry-run", **new) == (0, found, "")
    code, printed, complaint = await shopbus(auth, *command, **new)
    assert (code, complaint) == (0, "")
    assert printed == f"{found}2 were renewed; 0 sessions of staff ended until their next page load\n"
    assert (await shopbus(auth, *command, **new))[1].startswith("0 shops")
    code, _, complaint = await shopbus(auth, *command, SHOPIFY_API_SECRET="a typo")
    assert code == 1
    assert [secret for secret in (NEW, SECRET, *auth.shopify.issued) if secret in printed + complaint] == []
    assert len(complaint.splitlines()) == 2


async def test_a_metric_says_how_many_the_secret_of_today_did_not_make(auth: Running) -> None:
    await auth.install(SHOP)
    await auth.install(OTHER_SHOP)
    await auth.pool.execute("UPDATE auth.sessions SET secret_id = NULL WHERE shop = $1", OTHER_SHOP)
    await swept(auth, "count")
    assert (
        gauge("auth_minted_sessions", secret="current"),
        gauge("auth_minted_sessions", secret="other"),
    ) == (1, 1)


async def test_the_name_of_a_secret_tells_nothing_of_it(auth: Running) -> None:
    await auth.install()
    name = await auth.pool.fetchval("SELECT secret_id FROM auth.sessions")
    assert len(name) == 12
    assert name not in SECRET


async def test_requests_are_as_far_apart_as_the_rate_says() -> None:
    clock = TurnedClock()
    pace = Pace(clock, rate=4.0)
    began = clock.monotonic()
    for _ in range(5):
        await pace.turn()
    assert clock.monotonic() - began == 1.0
    pace.hold(10)
    await pace.turn()
    assert clock.monotonic() - began == 11.0
