"""The guard before the app's own routes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientError, ClientResponse, ClientSession, web
from prometheus_client import REGISTRY

from libs.common.service import Service
from libs.common.shopify.addresses import APP_BRIDGE, Addresses
from libs.common.shopify.session_token import SessionTokenVerifier
from libs.common.web import json_response
from libs.common.web_session import BOUNCE, SessionGuard, caller
from tests.clocks import TurnedClock
from tests.log_capture import logged
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, NOW, OLD_SECRET, SECRET, SHOP, session_token
from tests.waiting import poll

APP = "https://app.example.com"
RETRY = "X-Shopify-Retry-Invalid-Session-Request"
OTHER = "sandbox-002.myshopify.com"


async def who(request: web.Request) -> web.Response:
    token = caller(request)
    return json_response({"shop": token.shop, "user": token.user_id})


async def show(request: web.Request) -> web.Response:
    return web.Response(text=f"<p>{caller(request).shop}</p>", content_type="text/html")


async def show_strictly(_: web.Request) -> web.Response:
    return web.Response(text="x", headers={"Content-Security-Policy": "script-src 'self'"})


async def send_at_once(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    return response


@asynccontextmanager
async def guarded() -> AsyncIterator[ClientSession]:
    verifier = SessionTokenVerifier(CLIENT_ID, SECRET, OLD_SECRET)
    guard = SessionGuard(verifier, Addresses(), CLIENT_ID, APP, TurnedClock(NOW))
    routes = [
        web.get("/api", guard.fetched(who)),
        web.post("/api", guard.fetched(who)),
        web.get("/page", guard.page(show)),
        web.get("/strict", guard.page(show_strictly)),
        web.get("/streamed", guard.page(send_at_once)),
        web.get(BOUNCE, guard.bounce),
    ]
    async with serving([Service("test", routes)]) as session:
        yield session


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with guarded() as session:
        yield session


@contextmanager
def counted(key: str, times: int) -> Iterator[None]:
    def value() -> float:
        return REGISTRY.get_sample_value("session_tokens_total", {"key": key}) or 0.0

    before = value()
    yield
    assert value() == before + times


async def fetch(
    client: ClientSession, token: str, path: str = "/api", scheme: str = "Bearer"
) -> ClientResponse:
    return await client.get(path, headers={"Authorization": f"{scheme} {token}"}, allow_redirects=False)


async def open_page(client: ClientSession, **query: str) -> ClientResponse:
    return await client.get("/page", params=query, allow_redirects=False)


async def test_a_token_tells_who_calls(client: ClientSession) -> None:
    for secret, key in ((SECRET, "current"), (OLD_SECRET, "old")):
        with counted(key, 1):
            response = await fetch(client, session_token(secret))
            assert await response.json() == {"shop": SHOP, "user": 42}


async def test_an_app_bridge_is_asked_for_a_new_token(client: ClientSession) -> None:
    minute_ago = int(NOW.timestamp()) - 60
    tokens = ["", "x", session_token("y" * 32), session_token(exp=minute_ago), session_token(aud="other")]
    for token in tokens:
        with counted("none", 1 if token else 0):
            response = await fetch(client, token)
        assert (response.status, response.headers[RETRY]) == (401, "1")
        assert (await response.json())["type"] == "urn:shopbus:problem:session-token"
    assert (await client.get("/api")).headers[RETRY] == "1"
    assert (await fetch(client, session_token(), scheme="Basic")).headers[RETRY] == "1"


async def test_a_new_token_is_not_asked_for_where_it_would_be_the_same(client: ClientSession) -> None:
    checkout = await fetch(client, session_token(iss=f"https://{SHOP}/checkouts"))
    other = await fetch(client, session_token(), f"/api?shop={OTHER}")
    twice = await fetch(client, session_token(), f"/api?shop={SHOP}&shop={SHOP}")
    for response in (checkout, other, twice):
        assert response.status == 401
        assert RETRY not in response.headers


async def test_the_address_may_name_the_same_shop(client: ClientSession) -> None:
    assert (await fetch(client, session_token(), f"/api?shop={SHOP.upper()}")).status == 200


async def test_a_page_is_framed_by_its_own_shop_only(client: ClientSession) -> None:
    response = await open_page(client, shop=SHOP, id_token=session_token())
    assert (response.status, await response.text()) == (200, f"<p>{SHOP}</p>")
    policy = response.headers["Content-Security-Policy"]
    assert policy == f"frame-ancestors https://{SHOP} https://admin.shopify.com;"
    assert "X-Frame-Options" not in response.headers


@pytest.mark.parametrize("text", ["", "x", session_token("y" * 32), session_token(exp=1)])
async def test_a_page_without_a_fresh_token_bounces(client: ClientSession, text: str) -> None:
    given = {"shop": SHOP, "host": "YWRtaW4", "q": "a&b=é"}
    response = await open_page(client, **given, id_token=text)
    assert response.status == 302
    to = urlsplit(response.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(to.query).items()}
    reload = urlsplit(query.pop("shopify-reload"))
    assert f"{to.scheme}://{to.netloc}{to.path}" == f"{APP}{BOUNCE}"
    assert f"{reload.scheme}://{reload.netloc}{reload.path}" == f"{APP}/page"
    assert query == given == {name: values[0] for name, values in parse_qs(reload.query).items()}


async def test_a_page_never_bounces_for_ever(client: ClientSession) -> None:
    """A token for another app, or of another shop, will be the same after the bounce."""
    for query in (
        {"shop": SHOP, "id_token": session_token(aud="other")},
        {"shop": OTHER, "id_token": session_token()},
        {"id_token": ""},
        {"shop": "evil.com"},
    ):
        response = await open_page(client, **query)
        assert response.status == 401
        assert RETRY not in response.headers or "id_token" in query


async def test_a_page_can_be_fetched(client: ClientSession) -> None:
    assert (await fetch(client, session_token(), "/page")).status == 200
    response = await fetch(client, "x", "/page")
    assert (response.status, response.headers[RETRY]) == (401, "1")


async def test_a_page_keeps_its_own_policy(client: ClientSession) -> None:
    response = await fetch(client, session_token(), "/strict")
    assert response.headers.getall("Content-Security-Policy") == [
        "script-src 'self'",
        f"frame-ancestors https://{SHOP} https://admin.shopify.com;",
    ]


async def test_a_page_that_is_sent_too_early_is_a_fault_that_is_told() -> None:
    with logged() as written:
        async with guarded() as client:
            with suppress(ClientError):  # what was begun cannot be ended well
                await fetch(client, session_token(), "/streamed")
            await poll(lambda: "who may frame it" in written.text)


async def test_the_bounce_page_loads_app_bridge_for_its_shop_only(client: ClientSession) -> None:
    response = await client.get(BOUNCE, params={"shop": SHOP, "shopify-reload": f"{APP}/page"})
    text = await response.text()
    assert f'<script data-api-key="{CLIENT_ID}" src="{APP_BRIDGE}"></script>' in text
    assert f"https://{SHOP} " in response.headers["Content-Security-Policy"]
    assert (response.content_type, response.headers["Cache-Control"]) == ("text/html", "no-store")
    for shop in ("", "evil.com", f"{SHOP} https://evil.com"):
        assert (await client.get(BOUNCE, params={"shop": shop})).status == 400
    assert (await client.get(f"{BOUNCE}?shop={SHOP}&shop={OTHER}")).status == 400


async def test_the_bounce_page_leads_back_into_the_app_only(client: ClientSession) -> None:
    own = f"{APP}/page"
    for reloads in ([], ["https://evil.com/"], [f"{APP}.evil.com/"], ["//evil.com"], ["/page"], [own, own]):
        query = [("shop", SHOP), *(("shopify-reload", reload) for reload in reloads)]
        assert (await client.get(BOUNCE, params=query)).status == 400
    assert (await client.get(BOUNCE, params={"shop": SHOP, "shopify-reload": own})).status == 200


async def test_no_token_is_logged() -> None:
    token = session_token()
    with logged("DEBUG") as written:
        async with guarded() as client:
            await fetch(client, token)
            await fetch(client, token + "x")
            await open_page(client, shop=SHOP, id_token=token)
    assert SHOP in written.text
    assert token not in written.text
    assert token.rpartition(".")[2] not in written.text
