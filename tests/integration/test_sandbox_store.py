"""The sandbox store over HTTP: what a merchant's browser and the app get from it."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest
from shopify_app import ShopifyApp, TokenExchangeAccessToken, TokenExchangeResult
from yarl import URL

from libs.common.shopify.session_token import SessionTokenVerifier
from libs.common.shopify.signatures import Signer, WebhookVerifier
from libs.common.shopify.token_answers import Grant, Granted, Misconfigured, Refused, Unsettled
from services.sandbox.weather import Mishap, Weather
from tests.integration.sandbox_kit import APP, STATE, Sandbox, sandbox
from tests.session_tokens import CLIENT_ID, SECRET, SHOP
from tests.waiting import poll


async def test_consent_gives_a_code_that_becomes_a_token(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        query = await stores.agree("write_orders,read_orders")
        assert (query.shop, query.parameters["state"]) == (SHOP, STATE)
        inside = stores.addresses.embedded_app(query.parameters["host"], CLIENT_ID)
        assert inside == f"{stores.settings.store_url}/{SHOP}/admin/apps/{CLIENT_ID}"
        token = await stores.ask(Grant.CODE, APP.code(query.parameters["code"]))
        assert isinstance(token, Granted)
        assert str(token.scopes) == "write_orders"
        assert await stores.scopes_of(token.access_token) == ["read_orders", "write_orders"]
        assert isinstance(await stores.ask(Grant.CODE, APP.code(query.parameters["code"])), Refused)


async def test_consent_for_one_user_gives_online_access(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        query = await stores.agree(online=True)
        token = await stores.ask(Grant.CODE, APP.code(query.parameters["code"]))
        assert isinstance(token, Granted)
        assert token.user is not None
        who = SessionTokenVerifier(CLIENT_ID, SECRET).read(await stores.session_token(), query.at)
        assert (who.shop, who.user_id) == (SHOP, token.user.id)


@pytest.mark.parametrize("online", [False, True])
async def test_a_session_token_is_exchanged_in_a_form_too(tmp_path: Path, online: bool) -> None:
    async with sandbox(tmp_path) as stores:
        await stores.agree()
        form = APP.exchange(await stores.session_token(), online=online)
        token = await stores.ask(Grant.EXCHANGE, form)
        assert isinstance(token, Granted)
        assert (token.user is not None) is online


@pytest.mark.parametrize(
    "changes",
    [{"client_id": "other"}, {"redirect_uri": "https://evil.com/auth/callback"}, {"redirect_uri": ""}],
)
async def test_consent_is_asked_only_for_the_app_and_its_own_address(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    async with sandbox(tmp_path) as stores:
        for method in ("GET", "POST"):
            async with stores.client.request(
                method, stores.consent().update_query(changes), allow_redirects=False
            ) as answer:
                assert answer.status == 400


async def test_no_page_of_another_origin_plays_the_merchant(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        address, home = stores.consent(), URL(stores.settings.store_url)
        for headers in ({"Origin": "https://evil.com"}, {"Origin": "null"}, {"Host": "rebound.example.com"}):
            async with stores.client.post(address, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 403
        own = {"Origin": str(home.origin())}
        async with stores.client.post(address, headers=own, allow_redirects=False) as answer:
            assert answer.status == 302


async def test_an_uninstall_ends_tokens_first_and_is_told_then(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await stores.installed()
        address = f"{stores.settings.store_url}/{SHOP}/admin/apps/{CLIENT_ID}/uninstall"
        async with stores.client.post(address) as answer:
            assert "Install app" in await answer.text()
        assert await stores.scopes_of(token.access_token) is None
        await poll(lambda: stores.app.requests)
        headers, body = stores.app.requests[0]
        assert WebhookVerifier(SECRET).signer(body, headers["x-shopify-hmac-sha256"]) is Signer.CURRENT
        assert headers["x-shopify-topic"] == "app/uninstalled"
        assert orjson.loads(body)["myshopify_domain"] == headers["x-shopify-shop-domain"] == SHOP
        assert isinstance(
            await stores.ask(Grant.REFRESH, APP.refresh(token.refresh_token or "")), Misconfigured
        )


async def test_other_scopes_are_told(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        await stores.agree("read_orders")
        await stores.agree("read_orders")
        await stores.agree("write_orders,read_products")
        await poll(lambda: stores.app.requests)
        headers, body = stores.app.requests[0]
        facts = orjson.loads(body)
        assert headers["x-shopify-topic"] == "app/scopes_update"
        assert (facts["previous"], facts["current"]) == (["read_orders"], ["read_products", "write_orders"])
        assert len(stores.app.requests) == 1


async def test_the_stores_survive_a_restart(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await stores.installed()
    async with sandbox(tmp_path) as stores:
        assert await stores.scopes_of(token.access_token) == ["read_orders"]
        assert isinstance(await stores.ask(Grant.REFRESH, APP.refresh(token.refresh_token or "")), Granted)


@pytest.mark.parametrize("mishap", [Mishap.UNHEARD, Mishap.UNTOLD, Mishap.CUT_OFF, Mishap.TOO_MANY])
async def test_in_bad_weather_nothing_is_settled_and_nothing_is_lost(tmp_path: Path, mishap: Mishap) -> None:
    weather = Weather()
    async with sandbox(tmp_path, weather) as stores:
        token = await stores.installed()
        weather.shares = {mishap: 1.0}
        form = APP.refresh(token.refresh_token or "")
        outcome = await stores.ask(Grant.REFRESH, form)
        assert isinstance(outcome, Unsettled)
        assert outcome.retry_after == (1.0 if mishap is Mishap.TOO_MANY else None)
        weather.shares = {}
        assert isinstance(await stores.ask(Grant.REFRESH, form), Granted)


def test_the_weather_is_as_announced() -> None:
    weather = Weather({Mishap.UNTOLD: 0.2, Mishap.CUT_OFF: 0.3}, Random(1))
    for _ in range(10_000):
        weather.next()
    assert weather.seen[Mishap.UNTOLD] == pytest.approx(2000, abs=200)
    assert weather.seen[Mishap.CUT_OFF] == pytest.approx(3000, abs=200)
    assert weather.seen[Mishap.NONE] == pytest.approx(5000, abs=200)


class ToSandbox(httpx.AsyncHTTPTransport):
    """Sends what is meant for a shop's own address to the sandbox."""

    def __init__(self, stores: Sandbox) -> None:
        super().__init__()
        self._stores = stores

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        there = f"{self._stores.addresses.store(request.url.host)}{request.url.path}"
        moved = httpx.Request(request.method, there, headers=_own(request), content=await request.aread())
        return await super().handle_async_request(moved)


def _own(request: httpx.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() != "host"}


def token_in(result: TokenExchangeResult) -> TokenExchangeAccessToken:
    assert result.ok, result.log
    assert result.access_token is not None
    return result.access_token


async def test_shopifys_own_library_gets_along_with_the_sandbox(tmp_path: Path) -> None:
    """Token exchange, online and offline, and a refresh, as the official library asks for them."""
    library = ShopifyApp(client_id=CLIENT_ID, client_secret=SECRET)
    exchange, refresh = (
        library.exchange_using_token_exchange_async,
        library.refresh_token_exchanged_access_token_async,
    )
    async with sandbox(tmp_path) as stores, httpx.AsyncClient(transport=ToSandbox(stores)) as http:
        await stores.agree("write_orders")
        text = await stores.session_token()
        proof: dict[str, Any] = {"exchangeable": True, "token": text, "claims": {"dest": f"https://{SHOP}"}}
        online = token_in(await exchange("online", proof, http_client=http))
        offline = token_in(await exchange("offline", proof, http_client=http))
        renewed = token_in(await refresh(replace(offline, expires="2026-01-01T00:00:00Z"), http_client=http))
        assert (online.user is None, offline.user is None) == (False, True)
        assert renewed.refresh_token not in {None, offline.refresh_token}
        for token in (online, offline, renewed):
            assert token.scope == "write_orders"
            assert await stores.scopes_of(token.token) is not None
        refused = await exchange("offline", proof | {"token": text + "x"}, http_client=http)
        assert (refused.ok, refused.log.code) == (False, "invalid_subject_token")
