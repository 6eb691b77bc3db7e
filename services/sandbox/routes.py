"""HTTP of the sandbox store: Shopify's pages for merchants, and its endpoints for the app."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import NoReturn
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from yarl import URL

from libs.common.shopify.scopes import Scopes
from libs.common.web import Problem, json_response, read_body
from services.sandbox import pages
from services.sandbox.deliveries import sandbox_shops
from services.sandbox.grants import Denied, Grants
from services.sandbox.home import at_home, shop_of
from services.sandbox.news import News
from services.sandbox.overview import Overview
from services.sandbox.stage import CALLBACK, Stage, merchant
from services.sandbox.weather import Mishap, Weather

_SHOWN_STORES = 5
_FORM_BYTES, _FORM_SECONDS = 64 * 1024, 5.0
_UNKNOWN_ERROR = 520  # what Shopify's edge answers when it lost the answer


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers, with what they need."""

    stage: Stage
    grants: Grants
    news: News
    weather: Weather
    overview: Callable[[str], Awaitable[Overview]]

    def routes(self) -> list[web.RouteDef]:
        base = URL(self.stage.url).path
        store = base + "/{shop}/admin"
        return [
            web.get(base, at_home(self.stores)),
            web.get(f"{base}/app-bridge.js", at_home(self.app_bridge)),
            web.get(store, at_home(self.admin)),
            web.get(f"{store}/oauth/authorize", at_home(self.ask_merchant)),
            web.post(f"{store}/oauth/authorize", at_home(self.consented)),
            web.post(f"{store}/oauth/access_token", self.access_token),
            web.get(f"{store}/oauth/access_scopes.json", self.access_scopes),
            web.get(store + "/apps/{app}", at_home(self.frame)),
            web.post(store + "/apps/{app}/session_token", at_home(self.session_token)),
            web.post(store + "/apps/{app}/uninstall", at_home(self.uninstall)),
        ]

    async def stores(self, _: web.Request) -> web.Response:
        ledger = self.grants.ledger
        installed = {shop for shop, store in ledger.stores.items() if store.installed}
        return pages.stores(self.stage, sorted({*sandbox_shops(_SHOWN_STORES), *installed}), installed)

    async def app_bridge(self, _: web.Request) -> web.Response:
        script = files(__package__).joinpath("static/app-bridge.js").read_text()
        return web.Response(text=script, content_type="text/javascript")

    async def admin(self, request: web.Request) -> web.Response:
        shop = shop_of(request)
        store = self.grants.ledger.look(shop)
        scopes = store.scopes if store.installed else None
        return pages.admin(self.stage, shop, scopes=scopes, overview=await self.overview(shop))

    async def ask_merchant(self, request: web.Request) -> web.Response:
        """The consent page."""
        return pages.consent(self.stage, shop_of(request), sorted(self._asked(request).names))

    async def consented(self, request: web.Request) -> NoReturn:
        """The merchant said yes: back to the app, with a code."""
        shop, asked = shop_of(request), self._asked(request)
        store = self.grants.ledger.look(shop)
        before = Scopes.parse(store.scopes) if store.installed else asked
        online = request.query.get("grant_options[]") == "per-user"
        code = self.grants.install(shop, str(asked), merchant(shop) if online else None)
        if before != asked:
            self.news.scopes_changed(shop, sorted(before.names), sorted(asked.names))
        raise web.HTTPFound(self.stage.consented(shop, code=code, state=request.query.get("state", "")))

    async def access_token(self, request: web.Request) -> web.Response:
        """The token endpoint, in any weather."""
        mishap, shop = self.weather.next(), shop_of(request)
        form = await _form(request)
        if mishap is Mishap.UNHEARD:
            return _lost()
        if mishap is Mishap.TOO_MANY:
            return json_response({"error": "too_many_requests"}, 429, {"Retry-After": "1"})
        response = self._answer(shop, form)
        if mishap is Mishap.CUT_OFF and request.transport is not None:
            request.transport.abort()
        return _lost() if mishap is Mishap.UNTOLD else response

    async def access_scopes(self, request: web.Request) -> web.Response:
        """What the token in `X-Shopify-Access-Token` may do; 401 once it has ended."""
        allowed = self.grants.allowed(shop_of(request), request.headers.get("X-Shopify-Access-Token", ""))
        if allowed is None:
            return json_response({"errors": "[API] Invalid API key or access token"}, 401)
        handles = sorted(Scopes.parse(allowed).expanded)
        return json_response({"access_scopes": [{"handle": handle} for handle in handles]})

    async def frame(self, request: web.Request) -> web.Response:
        """The app inside the admin; where it is not installed, the way to install it."""
        shop = self._shop_of_app(request)
        if not self.grants.ledger.look(shop).installed:
            raise web.HTTPFound(self.stage.admin(shop))
        return pages.frame(self.stage, shop)

    async def session_token(self, request: web.Request) -> web.Response:
        """What App Bridge asks the admin for."""
        token = self.stage.session_token(self._shop_of_app(request))
        return json_response({"token": token}, headers={"Cache-Control": "no-store"})

    async def uninstall(self, request: web.Request) -> NoReturn:
        """Ends the app's access at once, and tells the app."""
        shop = self._shop_of_app(request)
        if self.grants.uninstall(shop):
            self.news.uninstalled(shop)
        raise web.HTTPSeeOther(self.stage.admin(shop))

    def _answer(self, shop: str, form: dict[str, str]) -> web.Response:
        try:
            return json_response(self.grants.answer(shop, form), headers={"Cache-Control": "no-store"})
        except Denied as denied:
            return json_response(
                {"error": denied.error, "error_description": denied.description}, denied.status
            )

    def _asked(self, request: web.Request) -> Scopes:
        """The scopes that a request for consent asks for; Shopify refuses one that is not the app's own."""
        if request.query.get("client_id") != self.stage.app.client_id:
            raise Problem(400, "no app has this client_id", kind="client")
        if request.query.get("redirect_uri") != f"{self.stage.app_url}{CALLBACK}":
            raise Problem(400, "redirect_uri is not one of the app's", kind="redirect")
        return Scopes.parse(request.query.get("scope", ""))

    def _shop_of_app(self, request: web.Request) -> str:
        if request.match_info["app"] != self.stage.app.client_id:
            raise Problem(404, "no app has this client_id", kind="client")
        return shop_of(request)


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a request, as a form or as JSON: Shopify takes both."""
    body = await read_body(request, limit=_FORM_BYTES, seconds=_FORM_SECONDS)
    if request.content_type != "application/json":
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        members = None
    return {name: str(value) for name, value in members.items()} if isinstance(members, dict) else {}


def _lost() -> web.Response:
    return web.Response(text="error code: 520", status=_UNKNOWN_ERROR)
