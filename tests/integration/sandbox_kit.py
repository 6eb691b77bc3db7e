"""A running sandbox store, with a receiver where the app would be, and what both sides say to it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.launch import QueryVerifier, SignedQuery
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.token_answers import Grant, Granted, Outcome, Unsettled, read_answer
from services.sandbox.app import open_service
from services.sandbox.config import Settings
from services.sandbox.sender import Patience
from services.sandbox.setup import Setup
from services.sandbox.weather import Weather
from tests.integration.receiver import Behaviour, Receiver, receiver
from tests.servers.ports import free_port
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, SECRET, SHOP

APP = AppCredentials(CLIENT_ID, SECRET)
STATE = "ab" * 32


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The stores, as the app and a merchant's browser reach them."""

    client: ClientSession
    app: Receiver
    settings: Settings

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.settings.store_url)

    def consent(self, scopes: str = "read_orders", *, online: bool = False, shop: str = SHOP) -> URL:
        """The consent page's address, as the app sends a merchant there."""
        redirect = f"{self.settings.public_url}/auth/callback"
        address = self.addresses.consent(
            shop,
            client_id=CLIENT_ID,
            scopes=Scopes.parse(scopes),
            redirect_uri=redirect,
            state=STATE,
            online=online,
        )
        return URL(address)

    async def agree(
        self, scopes: str = "read_orders", *, online: bool = False, shop: str = SHOP
    ) -> SignedQuery:
        """The merchant agrees; what the app's callback is told."""
        async with self.client.post(
            self.consent(scopes, online=online, shop=shop), allow_redirects=False
        ) as answer:
            assert answer.status == 302
            query = parse_qsl(urlsplit(answer.headers["Location"]).query)
        return QueryVerifier(SECRET).read(query, datetime.now(UTC))

    async def ask(self, grant: Grant, form: dict[str, str], *, shop: str = SHOP) -> Outcome:
        """One request to the token endpoint, read as auth reads it."""
        now = datetime.now(UTC)
        try:
            async with self.client.post(self.addresses.token_endpoint(shop), data=form) as answer:
                body = await answer.read()
        except aiohttp.ClientError:
            return Unsettled("no answer")
        return read_answer(grant, answer.status, answer.headers, body, asked_at=now)

    async def installed(self, scopes: str = "read_orders", *, shop: str = SHOP) -> Granted:
        query = await self.agree(scopes, shop=shop)
        found = await self.ask(Grant.CODE, APP.code(query.parameters["code"]), shop=shop)
        assert isinstance(found, Granted)
        return found

    async def scopes_of(self, token: str) -> list[str] | None:
        """What a token may do; None where it is refused."""
        address = f"{self.addresses.store(SHOP)}/admin/oauth/access_scopes.json"
        async with self.client.get(address, headers={"X-Shopify-Access-Token": token}) as answer:
            if answer.status == 401:
                return None
            return [scope["handle"] for scope in (await answer.json())["access_scopes"]]

    async def session_token(self, *, shop: str = SHOP) -> str:
        """What the admin gives App Bridge."""
        address = f"{self.addresses.store(shop)}/admin/apps/{CLIENT_ID}/session_token"
        async with self.client.post(address) as answer:
            token: str = (await answer.json())["token"]
            return token

    async def graphql(
        self, token: str, document: str, /, *, shop: str = SHOP, **variables: Any
    ) -> dict[str, Any]:
        """One request to the Admin API that is answered with 200: the answer."""
        async with self.ask_api(token, document, shop=shop, **variables) as answer:
            assert answer.status == 200, await answer.text()
            facts: dict[str, Any] = await answer.json()
            return facts

    def ask_api(
        self, token: str, document: str, /, *, shop: str = SHOP, **variables: Any
    ) -> AbstractAsyncContextManager[ClientResponse]:
        """One request to the Admin API."""
        address = f"{self.addresses.store(shop)}/admin/api/2026-10/graphql.json"
        body = {"query": document, "variables": variables}
        return self.client.post(address, json=body, headers={"X-Shopify-Access-Token": token})

    async def happen(self, topic: str, *, shop: str = SHOP, **form: int) -> list[int]:
        """Makes something happen in a store: the ids of what it happened to."""
        address = f"{self.addresses.store(shop)}/admin/happen"
        fields = {"topic": topic, **{name: str(value) for name, value in form.items()}}
        async with self.client.post(address, data=fields, headers={"Accept": "application/json"}) as answer:
            assert answer.status == 200, await answer.text()
            ids: list[int] = (await answer.json())["ids"]
            return ids

    async def bucket(self, shop: str = SHOP) -> dict[str, float]:
        """How the app keeps to the store's rate limit."""
        async with self.client.get(f"{self.addresses.store(shop)}/admin/bucket.json") as answer:
            facts: dict[str, float] = await answer.json()
            return facts

    async def overview(self, shop: str = SHOP) -> dict[str, Any]:
        """What the store's admin shows, for programs."""
        async with self.client.get(f"{self.addresses.store(shop)}/admin/overview.json") as answer:
            facts: dict[str, Any] = await answer.json()
            return facts


async def _take(_: Receiver, __: web.Request) -> web.StreamResponse:
    return web.json_response({})


@asynccontextmanager
async def sandbox(
    folder: Path,
    weather: Weather | None = None,
    *,
    setup: Setup | None = None,
    patience: Patience | None = None,
    behave: Behaviour = _take,
    app_url: str | None = None,
) -> AsyncIterator[Sandbox]:
    """A sandbox store, until the block is left; for the receiver, or for a real app at an address."""
    port = free_port()
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(receiver(behave))
        settings = Settings.load(
            state_dir=folder,
            port=port,
            app_url=app_url or app.url.removesuffix("/webhooks/shopify"),
            shopify_api_key=CLIENT_ID,
            shopify_api_secret=SECRET,
            shutdown_seconds=2.0,
        )
        service = await stack.enter_async_context(
            open_service(settings, weather=weather, patience=patience, setup=setup)
        )
        await stack.enter_async_context(serving([service], settings, port=port))
        client = await stack.enter_async_context(ClientSession())
        yield Sandbox(client, app, settings)


async def subscribe(stores: Sandbox, token: str, topic: str, uri: str, **more: Any) -> dict[str, Any]:
    """What the app is told when it subscribes to a topic."""
    create = """mutation ($topic: WebhookSubscriptionTopic!, $input: WebhookSubscriptionInput!) {
        webhookSubscriptionCreate(topic: $topic, webhookSubscription: $input) {
            webhookSubscription { id topic uri } userErrors { field message } } }"""
    answer = await stores.graphql(token, create, topic=topic, input={"uri": uri, **more})
    payload: dict[str, Any] = answer["data"]["webhookSubscriptionCreate"]
    return payload
