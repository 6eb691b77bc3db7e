"""The code grant: what installs a shop, and everything that must not."""

import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from libs.common.shopify.launch import query_signature
from services.auth.states import cookie_name
from tests.integration.auth_kit import APP_URL, OTHER_SHOP, SHOP, Running, running
from tests.integration.shopify_stand_in import KEY, SECRET

HOST = "YWRtaW4uc2hvcGlmeS5jb20vc3RvcmUvZmlyc3Q"  # admin.shopify.com/store/first
SHOPS = "SELECT shop, generation, uninstalled_at FROM auth.shops"


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        yield one


async def installed(auth: Running) -> int:
    number: int = await auth.pool.fetchval("SELECT count(*) FROM auth.sessions")
    return number


async def refused(auth: Running, address: str) -> tuple[int, str]:
    """The answer to a callback that must not install anything."""
    status, problem = await auth.get(address)
    assert await installed(auth) == 0
    return status, problem["type"].rpartition(":")[2]


async def test_a_merchant_who_consents_has_the_app_and_the_others_are_told(auth: Running) -> None:
    answer, state = await auth.begin()
    assert answer.status == 302
    assert answer.headers["Location"].startswith(
        f"{auth.shopify.url}/{SHOP}/admin/oauth/authorize?client_id={KEY}&"
    )
    assert "read_orders%2Cread_products" in answer.headers["Location"]

    async with auth.client.get(auth.back(state), allow_redirects=False) as back:
        assert (back.status, back.headers["Location"]) == (302, f"{APP_URL}/auth/app?shop={SHOP}")
    assert [dict(row) for row in await auth.pool.fetch(SHOPS)] == [
        {"shop": SHOP, "generation": 1, "uninstalled_at": None}
    ]
    (rotated, first), (told, facts) = await auth.emitted()
    assert (rotated, first["shop"], told) == ("token.rotated", SHOP, "shop.installed")
    assert (facts["shop"], facts["generation"], facts["scopes"]) == (SHOP, 1, "read_products,write_orders")
    status, token = await auth.token()
    assert (status, token["access_token"]) == (200, auth.shopify.shops[SHOP].access)


async def test_the_app_opens_inside_the_admin_that_host_names(auth: Running) -> None:
    _, state = await auth.begin()
    async with auth.client.get(auth.back(state, host=HOST), allow_redirects=False) as back:
        assert back.headers["Location"] == f"{auth.shopify.url}/{SHOP}/admin/apps/{KEY}"


async def test_a_host_that_is_no_admin_leads_nowhere_else(auth: Running) -> None:
    _, state = await auth.begin()
    evil = "ZXZpbC5leGFtcGxlLmNvbS9hZG1pbg"  # evil.example.com/admin
    async with auth.client.get(auth.back(state, host=evil), allow_redirects=False) as back:
        assert back.headers["Location"].startswith(f"{APP_URL}/auth/app?shop={SHOP}")


async def test_the_cookie_is_for_the_callback_only_and_cannot_be_read_by_a_page(auth: Running) -> None:
    answer, state = await auth.begin()
    cookie = answer.cookies[cookie_name(state)]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (
        "/auth/callback", True, "Lax", "600",
    )  # fmt: skip
    assert state not in cookie.value
    async with auth.client.get(auth.back(state), allow_redirects=False) as back:
        gone = back.cookies[cookie_name(state)]
        assert (gone["path"], gone["max-age"]) == ("/auth/callback", "0")


async def test_a_state_works_once(auth: Running) -> None:
    answer, state = await auth.begin()
    kept = {cookie_name(state): answer.cookies[cookie_name(state)].value}
    assert (await auth.get(auth.back(state)))[0] == 302
    status, problem = await auth.get(auth.back(state), cookies=kept)
    assert (status, problem["type"]) == (400, "urn:shopbus:problem:state")
    assert auth.shopify.asked["code"] == 1


async def test_a_state_is_forgotten_after_ten_minutes(auth: Running) -> None:
    _, state = await auth.begin()
    await auth.pool.execute("UPDATE auth.states SET expires_at = expires_at - interval '10 minutes'")
    assert await refused(auth, auth.back(state)) == (400, "state")


async def test_another_browser_cannot_finish_an_install(auth: Running) -> None:
    _, state = await auth.begin()
    auth.client.cookie_jar.clear()
    assert await refused(auth, auth.back(state)) == (400, "cookie")


async def test_one_shops_state_does_not_install_another(auth: Running) -> None:
    _, state = await auth.begin(SHOP)
    assert await refused(auth, auth.back(state, OTHER_SHOP)) == (400, "shop")


async def test_two_installs_in_one_browser_do_not_disturb_each_other(auth: Running) -> None:
    (_, first), (_, second) = await auth.begin(SHOP), await auth.begin(OTHER_SHOP)
    assert (await auth.get(auth.back(first, SHOP)))[0] == 302
    assert (await auth.get(auth.back(second, OTHER_SHOP)))[0] == 302
    assert await installed(auth) == 2


async def test_an_unsigned_callback_is_refused(auth: Running) -> None:
    _, state = await auth.begin()
    assert await refused(auth, auth.back(state, secret="another secret")) == (401, "query-hmac")


async def test_an_old_callback_is_refused(auth: Running) -> None:
    _, state = await auth.begin()
    stamp = str(int(time.time()) - 91)
    assert await refused(auth, auth.back(state, timestamp=stamp)) == (401, "query-timestamp")


@pytest.mark.parametrize("name", ["shop", "state", "code", "timestamp", "hmac"])
async def test_a_repeated_parameter_is_refused(auth: Running, name: str) -> None:
    _, state = await auth.begin()
    assert await refused(auth, f"{auth.back(state)}&{name}=again") == (400, "query-repeated")


async def test_the_old_secret_still_signs(database: str) -> None:
    async with running(database, shopify_api_secret_old="the one before") as auth:
        _, state = await auth.begin()
        assert (await auth.get(auth.back(state, secret="the one before")))[0] == 302


async def test_a_merchant_who_takes_scopes_out_of_the_address_gets_no_install(auth: Running) -> None:
    auth.shopify.scope = "read_products"
    _, state = await auth.begin()
    assert await refused(auth, auth.back(state)) == (403, "scopes")


async def test_access_for_one_person_is_no_install(auth: Running) -> None:
    auth.shopify.user = {"id": 7}
    _, state = await auth.begin()
    assert await refused(auth, auth.back(state)) == (400, "online")


async def test_while_shopify_does_not_answer_the_merchant_is_asked_to_begin_again(auth: Running) -> None:
    async def bad_day(_: web.Request) -> web.StreamResponse:
        return web.Response(status=520)

    auth.shopify.before = bad_day
    _, state = await auth.begin()
    address = auth.back(state)
    async with auth.client.get(address, allow_redirects=False) as answer:
        assert "Retry-After" not in answer.headers
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["type"]) == (503, "urn:shopbus:problem:begin-again")
    assert "begin the install again" in problem["detail"]
    auth.shopify.before = None
    assert await refused(auth, address) == (400, "state")
    await auth.install()


async def test_a_code_that_shopify_does_not_take_installs_nothing(auth: Running) -> None:
    _, state = await auth.begin()
    assert await refused(auth, auth.back(state, code="made-up")) == (400, "shopify")


@pytest.mark.parametrize(
    "shop", ["", "evil.example.com", "first.myshopify.com.evil.com", "first.myshopify.com/x"]
)
async def test_only_shops_are_installed_on(auth: Running, shop: str) -> None:
    answer, _ = await auth.begin(shop)
    assert answer.status == 400


async def test_a_launch_by_shopify_has_to_be_signed(auth: Running) -> None:
    query = {"shop": SHOP, "timestamp": str(int(time.time()))}
    signed, _ = await auth.begin(**query, hmac=query_signature(SECRET, query.items()))
    forged, _ = await auth.begin(**query, hmac="0" * 64)
    assert (signed.status, forged.status) == (302, 401)


async def test_inside_the_admins_frame_the_consent_page_opens_in_the_whole_window(auth: Running) -> None:
    answer, _ = await auth.begin(embedded="1")
    text = await answer.text()
    assert answer.status == 200
    assert 'open("http' in text
    assert '"_top"' in text
    assert answer.headers["Content-Security-Policy"].startswith("frame-ancestors http")
