"""The merchant's browser: installing the app, coming back from the consent page, and what the app's pages fetch."""

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import NoReturn
from urllib.parse import urlencode

import orjson
from aiohttp import hdrs, web

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from libs.common.senders import sender
from libs.common.shopify import csp
from libs.common.shopify.launch import Flaw, QueryRefused, QueryVerifier, SignedQuery
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.web import Handler, Problem, json_response, note, read_body
from libs.common.web_session import BOUNCE, RETRY, SessionGuard, caller
from services.auth import metrics, pages
from services.auth.refusals import (
    BeginAgain,
    GrantRefused,
    NotInstalled,
    SessionTokenRefused,
    TooManyInstalls,
    TryLater,
)
from services.auth.service import CALLBACK, Access, Auth
from services.auth.sessions import Sessions
from services.auth.states import LIFE, Started, cookie_name

INSTALL, TOKEN, SESSION, APP_PAGE = "/auth/install", "/auth/token", "/auth/session", "/auth/app"
_BODY_BYTES, _BODY_SECONDS = 4096, 5.0
_NO_STORE = {"Cache-Control": "no-store"}
_STATUS = {Flaw.HMAC: 401, Flaw.TIMESTAMP: 401}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers, with what they need."""

    auth: Auth
    sessions: Sessions
    verifier: QueryVerifier
    guard: SessionGuard
    clock: Clock
    proxies: int = 0  # of ours, that stand before this service

    def routes(self) -> list[web.RouteDef]:
        """What browsers reach."""
        fetched = self.guard.fetched
        return [
            web.get(INSTALL, _spoken(self.install), allow_head=False),
            web.get(CALLBACK, _spoken(self.callback), allow_head=False),
            web.post(TOKEN, _spoken(fetched(self.token))),
            web.get(SESSION, _spoken(fetched(self.show_session)), allow_head=False),
            web.delete(SESSION, _spoken(fetched(self.end_session))),
            web.get(BOUNCE, self.guard.bounce),
            web.get(APP_PAGE, _spoken(self.guard.page(self.app_page))),
        ]

    async def install(self, request: web.Request) -> web.Response:
        """`?shop=`: sends the merchant to the consent page, out of the admin's frame where it is opened in one."""
        shop, launched = self._wanted_shop(request)
        note(request, shop=shop)
        whose = sender(request.remote, request.headers.getall(hdrs.X_FORWARDED_FOR, ()), self.proxies)
        address, started = await self.auth.begin(shop, whose, launched=launched)
        if request.query.get("embedded") == "1":
            response = pages.out_of_frame(address, shop, self.auth.app)
        else:
            response = web.Response(status=302, headers={"Location": address, **csp.NOT_FRAMED})
        response.headers.update(_NO_STORE)
        self._bind(response, started)
        return response

    async def callback(self, request: web.Request) -> web.Response:
        """Where Shopify sends the merchant back to: keeps the install, and opens the app."""
        query = self._signed(request)
        note(request, shop=query.shop)
        kept = await self.auth.finish(query, request.cookies)
        note(request, generation=kept.install.generation, new=kept.is_new)
        response = web.Response(
            status=302, headers={"Location": self._home(query), **_NO_STORE, **csp.NOT_FRAMED}
        )
        response.del_cookie(cookie_name(query.parameters["state"]), path=CALLBACK)
        return response

    async def token(self, request: web.Request) -> web.Response:
        """Makes sure of access for the caller's shop, and with `{"online": true}` for the caller as well."""
        access = await self.auth.access(caller(request), online=await _wants_online(request))
        return json_response(_told(access), headers=_NO_STORE)

    async def show_session(self, request: web.Request) -> web.Response:
        """Who is calling, and the access there is."""
        who = caller(request)
        mine = await self.sessions.of(who.shop, who.user_id)
        return json_response({"shop": who.shop, "user_id": who.user_id, **mine}, headers=_NO_STORE)

    async def end_session(self, request: web.Request) -> web.Response:
        """Forgets the caller's own online access; that of the shop stays."""
        who = caller(request)
        ended = who.user_id is not None and await self.sessions.end_online(who.shop, who.user_id)
        return json_response({"ended": ended}, headers=_NO_STORE)

    async def app_page(self, request: web.Request) -> web.Response:
        """The app's first page, until it has one of its own."""
        return pages.greeting(caller(request).shop, self.auth.app)

    def _wanted_shop(self, request: web.Request) -> tuple[str, bool]:
        """The shop, and whether Shopify named it."""
        if "hmac" in request.query:  # opened by Shopify: then all of it has to be right
            return self._signed(request).shop, True
        named = request.query.getall("shop", [])
        try:
            return shop_domain(named[0] if len(named) == 1 else ""), False
        except InvalidShopDomain:
            raise _refused(
                "shop", Problem(400, "shop has to be name.myshopify.com, once", kind="shop")
            ) from None

    def _signed(self, request: web.Request) -> SignedQuery:
        try:
            query = self.verifier.read(request.query.items(), self.clock.now())
        except QueryRefused as error:
            metrics.VERIFIED.labels(error.signer.value).inc()
            problem = Problem(_STATUS.get(error.flaw, 400), error.detail, kind=f"query-{error.flaw.value}")
            raise _refused(error.flaw.value, problem) from error
        metrics.VERIFIED.labels(query.signer.value).inc()
        return query

    def _bind(self, response: web.Response, started: Started) -> None:
        response.set_cookie(
            started.cookie_name, started.cookie, path=CALLBACK, max_age=int(LIFE.total_seconds()), httponly=True,
            secure=self.auth.app.public_url.startswith("https:"), samesite="Lax",
        )  # fmt: skip

    def _home(self, query: SignedQuery) -> str:
        """The app inside the admin where it belongs there, else its own first page."""
        app, host = self.auth.app, query.parameters.get("host", "")
        if host and query.parameters.get("embedded") != "1":
            inside = app.addresses.embedded_app(host, app.credentials.client_id)
            if inside is not None:
                return inside
        known = {"shop": query.shop, **({"host": host} if host else {})}
        return f"{app.public_url}{APP_PAGE}?{urlencode(known)}"


def _told(access: Access) -> dict[str, object]:
    return {
        "shop": access.shop,
        "user_id": access.user_id,
        "scopes": str(access.scopes),
        "missing_scopes": str(access.missing),
        "expires_at": access.expires_at,
        "online_expires_at": access.online_expires_at,
    }


async def _wants_online(request: web.Request) -> bool:
    body = await read_body(request, limit=_BODY_BYTES, seconds=_BODY_SECONDS)
    if not body:
        return False
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    online = given.get("online", False) if isinstance(given, dict) else None
    if not isinstance(online, bool):
        raise Problem(400, 'the body has to be nothing, or JSON like {"online": true}', kind="bad-parameter")
    return online


def _spoken(handler: Handler) -> Handler:
    """Says what the service refused as a problem."""

    async def spoken(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (
            BeginAgain, GrantRefused, SessionTokenRefused, NotInstalled, TooManyInstalls, TryLater,
        ) as error:  # fmt: skip
            _refuse(error)

    return spoken


def _refuse(error: ShopbusError) -> NoReturn:
    match error:
        case GrantRefused(reason=reason, detail=detail):
            status = HTTPStatus.FORBIDDEN if reason in {"scopes", "not_admin", "no_user", "user"} else 400
            problem = Problem(status, detail, kind=reason.replace("_", "-"))
            raise _refused(reason, problem) from error
        case SessionTokenRefused():
            raise _refused(
                "session_token", Problem(401, str(error), kind="session-token", headers=RETRY)
            ) from error
        case TooManyInstalls(of=of, seconds=seconds):
            headers = {"Retry-After": str(max(1, ceil(seconds)))}
            problem = Problem(429, str(error), kind="too-many-installs", headers=headers)
            raise _refused(f"too_many_of_{of}", problem) from error
        case BeginAgain():
            raise _refused("begin_again", Problem(503, str(error), kind="begin-again")) from error
        case TryLater():
            raise try_later(error) from error
    raise Problem(404, str(error), kind="not-installed") from error


def try_later(error: TryLater) -> Problem:
    """The answer where the same request may succeed later."""
    return Problem(
        503, str(error), kind="try-later", headers={"Retry-After": str(max(1, round(error.seconds)))}
    )


def _refused(reason: str, problem: Problem) -> Problem:
    metrics.REFUSED.labels(reason).inc()
    return problem
