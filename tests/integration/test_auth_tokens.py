"""A shop's token: given out while it is good, renewed before it ends, and never by two at once."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web

from services.auth import store
from tests.integration.auth_kit import OTHER_SHOP, SHOP, Running, running, service_proof
from tests.waiting import poll

AGE = "UPDATE auth.sessions SET expires_at = now() + $1 * interval '1 second'"
AGE_REFRESH = "UPDATE auth.sessions SET refresh_expires_at = now() + $1 * interval '1 second'"
EVERYTHING = """
SELECT string_agg(line, '') FROM (
    SELECT row_to_json(s)::text FROM auth.sessions AS s UNION ALL SELECT row_to_json(m)::text FROM auth.messages AS m
    UNION ALL SELECT row_to_json(s)::text FROM auth.shops AS s
    UNION ALL SELECT row_to_json(s)::text FROM auth.states AS s
) AS rows(line)
"""
REFUSED = "SELECT refused_at IS NOT NULL FROM auth.sessions"


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        await one.install()
        yield one


async def age(auth: Running, seconds: float) -> None:
    await auth.pool.execute(AGE, float(seconds))


def kinds(answers: Iterable[tuple[int, Any]]) -> set[tuple[int, str]]:
    return {(status, said.get("type", "").rpartition(":")[2]) for status, said in answers}


async def test_a_token_is_given_to_services_only(auth: Running) -> None:
    address = f"/internal/auth/shops/{SHOP}/token"
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}):
        status, problem = await auth.get(address, headers=headers)
        assert (status, problem["type"]) == (401, "urn:shopbus:problem:service-token")
    assert (await auth.ops(address))[0] == 401


async def test_a_good_token_is_given_without_asking_shopify(auth: Running) -> None:
    status, given = await auth.token()
    assert status == 200
    assert given["access_token"] == auth.shopify.shops[SHOP].access
    assert (given["shop"], given["generation"], given["scopes"]) == (SHOP, 1, "read_products,write_orders")
    assert datetime.fromisoformat(given["expires_at"]).tzinfo is not None
    assert auth.shopify.asked["refresh_token"] == 0


async def test_a_shop_without_the_app_has_no_token(auth: Running) -> None:
    assert kinds([await auth.token(OTHER_SHOP)]) == {(404, "not-installed")}


async def test_shortly_before_its_end_a_token_is_renewed_once_for_all(auth: Running) -> None:
    before = auth.shopify.shops[SHOP]
    await age(auth, 299)
    answers = await asyncio.gather(*(auth.token() for _ in range(50)))
    assert {given["access_token"] for _, given in answers} == {auth.shopify.shops[SHOP].access}
    assert auth.shopify.asked["refresh_token"] == 1
    assert auth.shopify.shops[SHOP].shown == before.refresh
    assert await auth.types() == ["token.rotated", "shop.installed", "token.rotated"]


async def test_a_lost_answer_is_asked_for_again_with_the_same_refresh_token(auth: Running) -> None:
    lost = iter([True])

    async def lose(request: web.Request) -> web.StreamResponse | None:
        if next(lost, False):
            assert request.transport is not None
            request.transport.abort()
        return None

    first = auth.shopify.shops[SHOP].refresh
    auth.shopify.after = lose
    await age(auth, 10)
    status, given = await auth.token()
    assert (status, given["access_token"]) == (200, auth.shopify.shops[SHOP].access)
    assert (auth.shopify.shops[SHOP].shown, auth.shopify.asked["refresh_token"]) == (first, 2)


async def test_while_shopify_is_away_the_old_token_serves_to_its_end(auth: Running) -> None:
    async def away(_: web.Request) -> web.StreamResponse:
        return web.Response(status=520)

    auth.shopify.before = away
    held = auth.shopify.shops[SHOP].access
    await age(auth, 60)
    assert (await auth.token())[1]["access_token"] == held
    await age(auth, 20)
    assert kinds([await auth.token()]) == {(503, "try-later")}
    auth.shopify.before = None
    await poll(lambda: renewed(auth))


async def renewed(auth: Running) -> bool:
    return (await auth.token())[0] == 200


async def test_many_who_wait_for_a_silent_shopify_do_not_wait_for_each_other(auth: Running) -> None:
    asked: list[str] = []

    async def away(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=520)

    auth.shopify.before = away
    for seconds, expected in ((60, (200, "")), (1, (503, "try-later"))):
        await age(auth, seconds)
        assert kinds(await asyncio.gather(*(auth.token() for _ in range(30)))) == {expected}
    assert len(asked) < 30


async def test_whoever_holds_a_good_token_does_not_wait_for_another_process(auth: Running) -> None:
    await age(auth, 60)
    async with auth.pool.acquire() as conn, conn.transaction():
        await store.lock(conn, SHOP, seconds=5)
        assert (await auth.token())[0] == 200
    assert auth.shopify.asked["refresh_token"] == 0


async def test_shopify_says_how_long_to_wait_and_the_caller_is_told(auth: Running) -> None:
    async def throttled(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "7"})

    auth.shopify.before = throttled
    await age(auth, 1)
    address = f"/internal/auth/shops/{SHOP}/token"
    async with auth.client.get(address, headers=service_proof()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")


async def test_shopify_is_left_alone_for_as_long_as_it_says(auth: Running) -> None:
    async def throttled(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    auth.shopify.before = throttled
    await age(auth, 1)
    assert kinds([await auth.token()]) == {(503, "try-later")}
    auth.shopify.before = None
    address = f"/internal/auth/shops/{SHOP}/token"
    async with auth.client.get(address, headers=service_proof()) as answer:
        assert answer.status == 503
        assert 2 < int(answer.headers["Retry-After"]) <= 60
    assert auth.shopify.asked["refresh_token"] == 0


async def test_a_refused_refresh_token_needs_the_merchant_who_heals_it_by_opening_the_app(
    auth: Running,
) -> None:
    auth.shopify.shops[SHOP].refresh = "something else"
    await age(auth, 1)
    assert kinds([await auth.token()]) == {(409, "needs-authorization")}
    assert await auth.pool.fetchval(REFUSED)
    assert kinds([await auth.token()]) == {(409, "needs-authorization")}
    assert auth.shopify.asked["refresh_token"] == 1

    assert (await auth.exchange())[0] == 200
    status, given = await auth.token()
    assert (status, given["access_token"]) == (200, auth.shopify.shops[SHOP].access)


async def test_a_refresh_token_that_is_over_is_not_even_shown(auth: Running) -> None:
    await age(auth, 1)
    await auth.pool.execute(AGE_REFRESH, -1.0)
    assert kinds([await auth.token()]) == {(409, "needs-authorization")}
    assert auth.shopify.asked["refresh_token"] == 0


async def test_a_token_that_shopify_refused_is_replaced_once(auth: Running) -> None:
    _, first = await auth.token()
    _, second = await auth.token(refused=str(first["version"]))
    _, third = await auth.token(refused=str(first["version"]))
    assert first["access_token"] != second["access_token"] == third["access_token"]
    assert auth.shopify.asked["refresh_token"] == 1


async def test_a_token_that_shopify_refused_is_not_given_again(auth: Running) -> None:
    _, first = await auth.token()
    auth.shopify.uninstall(SHOP)
    assert kinds([await auth.token(refused=str(first["version"]))]) == {(409, "needs-authorization")}
    assert kinds([await auth.token()]) == {(409, "needs-authorization")}


async def test_an_answer_without_expiry_is_not_for_ever(auth: Running) -> None:
    auth.shopify.omit = {"expires_in"}
    await age(auth, 1)
    assert (await auth.token())[0] == 200
    left = await auth.pool.fetchval("SELECT extract(epoch FROM expires_at - now()) FROM auth.sessions")
    assert 3_500 < left <= 3_600


async def test_a_row_copied_to_another_shop_gives_no_token(auth: Running) -> None:
    await auth.install(OTHER_SHOP)
    await auth.pool.execute(
        "UPDATE auth.sessions AS s SET access_token = o.access_token, refresh_token = o.refresh_token "
        "FROM auth.sessions AS o WHERE s.shop = $1 AND o.shop = $2",
        OTHER_SHOP, SHOP,
    )  # fmt: skip
    status, _ = await auth.token(OTHER_SHOP)
    assert status == 500
    assert (await auth.token(SHOP))[0] == 200


async def test_no_token_lies_readable_in_the_database(auth: Running) -> None:
    await auth.exchange(online=True)
    await age(auth, 1)
    await auth.token()
    written = await auth.pool.fetchval(EVERYTHING)
    assert len(auth.shopify.issued) >= 5
    assert [
        token for token in auth.shopify.issued if token in written or token.encode().hex() in written
    ] == []
