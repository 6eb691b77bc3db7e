"""Session tokens become access: for whom they were made, once for many page loads, and never told to the page."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from yarl import URL

from tests.integration.auth_kit import OTHER_SHOP, SHOP, Running, running, session_token
from tests.integration.shopify_stand_in import KEY

RETRY = "X-Shopify-Retry-Invalid-Session-Request"


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        yield one


async def test_a_page_of_an_unknown_shop_installs_it(auth: Running) -> None:
    status, said = await auth.exchange()
    assert (status, said["shop"], said["user_id"], said["scopes"]) == (
        200,
        SHOP,
        7,
        "read_products,write_orders",
    )
    assert await auth.types() == ["token.rotated", "shop.installed"]
    assert (await auth.token())[1]["access_token"] == auth.shopify.shops[SHOP].access


async def test_parallel_page_loads_exchange_once_and_all_succeed(auth: Running) -> None:
    answers = await asyncio.gather(*(auth.exchange() for _ in range(40)))
    assert {status for status, _ in answers} == {200}
    assert auth.shopify.asked["token-exchange"] == 1
    assert await auth.types() == ["token.rotated", "shop.installed"]


async def test_the_page_never_sees_a_token(auth: Running) -> None:
    said = [await auth.exchange(online=True), await auth.exchange()]
    headers = {"Authorization": f"Bearer {session_token()}"}
    said.append(await auth.get("/auth/session", headers=headers))
    assert [token for token in auth.shopify.issued if token in str(said)] == []


async def test_online_access_is_for_the_caller_alone(auth: Running) -> None:
    _, said = await auth.exchange(online=True)
    assert said["online_expires_at"] is not None
    mine = {"Authorization": f"Bearer {session_token(user=7)}"}
    other = {"Authorization": f"Bearer {session_token(user=8)}"}
    assert (await auth.get("/auth/session", headers=mine))[1]["online"]["user_id"] == 7
    assert (await auth.get("/auth/session", headers=other))[1]["online"] is None

    async with auth.client.delete("/auth/session", headers=other) as answer:
        assert await answer.json() == {"ended": False}
    async with auth.client.delete("/auth/session", headers=mine) as answer:
        assert await answer.json() == {"ended": True}
    session = (await auth.get("/auth/session", headers=mine))[1]
    assert (session["online"], session["installed"], session["offline"]["state"]) == (None, True, "live")


async def test_the_shop_comes_from_the_token_alone(auth: Running) -> None:
    headers = {"Authorization": f"Bearer {session_token(SHOP)}"}
    auth.shopify.installed.add(OTHER_SHOP)
    async with auth.client.post(f"/auth/token?shop={OTHER_SHOP}", headers=headers) as answer:
        assert answer.status == 401
        assert RETRY not in answer.headers
    assert auth.shopify.asked.total() == 0


@pytest.mark.parametrize(
    "token",
    [
        session_token(exp=time.time() - 60),
        session_token(secret="another app's secret, long enough"),
        session_token(aud=f"not {KEY}"),
        "",
        "x.y.z",
    ],
    ids=["expired", "signed by another", "for another app", "none", "no token"],
)
async def test_a_token_that_is_not_believed_is_sent_back_for_a_new_one(auth: Running, token: str) -> None:
    async with auth.client.post("/auth/token", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert (answer.status, answer.headers[RETRY]) == (401, "1")
    assert auth.shopify.asked.total() == 0


async def test_a_token_that_only_shopify_refuses_is_sent_back_too(auth: Running) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "invalid_subject_token"}, status=400)

    auth.shopify.before = refuse
    async with auth.client.post(
        "/auth/token", headers={"Authorization": f"Bearer {session_token()}"}
    ) as answer:
        assert (answer.status, answer.headers[RETRY]) == (401, "1")


async def test_a_token_of_the_checkout_is_no_member_of_staff(auth: Running) -> None:
    token = session_token(iss=f"https://{SHOP}/checkouts")
    async with auth.client.post("/auth/token", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 401
        assert RETRY not in answer.headers
    assert auth.shopify.asked.total() == 0


async def test_while_shopify_is_away_the_page_is_asked_to_come_again(auth: Running) -> None:
    async def away(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502)

    auth.shopify.before = away
    status, problem = await auth.exchange()
    assert (status, problem["type"]) == (503, "urn:shopbus:problem:try-later")
    auth.shopify.before = None
    assert (await auth.exchange())[0] == 200


async def test_the_page_is_told_which_scopes_are_missing(auth: Running) -> None:
    auth.shopify.scope = "read_products"
    _, said = await auth.exchange()
    assert said["missing_scopes"] == "read_orders"


async def test_a_page_in_a_frame_without_a_token_bounces_and_one_with_it_greets_its_shop(
    auth: Running,
) -> None:
    async with auth.client.get(f"/auth/app?shop={SHOP}&host=x", allow_redirects=False) as answer:
        assert answer.status == 302
        bounce = answer.headers["Location"].removeprefix("http://127.0.0.1:8081")
        assert bounce.startswith("/auth/bounce?shop=")
    async with auth.client.get(URL(bounce, encoded=True)) as answer:
        assert "app-bridge.js" in await answer.text()
    async with auth.client.get(f"/auth/app?shop={SHOP}&id_token={session_token()}") as answer:
        assert f"Hello, {SHOP}" in await answer.text()
        assert answer.headers["Content-Security-Policy"].startswith("frame-ancestors http")
