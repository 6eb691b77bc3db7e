"""Guards the app's own routes: only who shows a session token reaches them, and is known by it (SHOPIFY 3)."""

from dataclasses import dataclass
from html import escape
from typing import NoReturn
from urllib.parse import urlencode

from aiohttp import web

from libs.common.clock import Clock
from libs.common.metrics import SESSION_TOKENS
from libs.common.shopify import csp
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.session_token import (
    InvalidSessionToken,
    SessionToken,
    SessionTokenVerifier,
    TokenFlaw,
)
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.shopify.signatures import Signer
from libs.common.web import Handler, Problem, note

BOUNCE = "/auth/bounce"
RETRY = {"X-Shopify-Retry-Invalid-Session-Request": "1"}
"""App Bridge answers this header by sending the request once more, with a new token."""

_CALLER = web.RequestKey("shopbus.caller", SessionToken)
_COUNTED = {signer: SESSION_TOKENS.labels(signer.value) for signer in Signer}
_RENEWABLE = frozenset({TokenFlaw.MALFORMED, TokenFlaw.SIGNATURE, TokenFlaw.EXPIRED, TokenFlaw.NOT_YET})
_BOUNCE_PAGE = (
    "<!doctype html>\n<title>…</title>\n"
    '<script data-api-key="{client_id}" src="{app_bridge}"></script>\n'  # it fetches a token and comes back
)


class Unauthenticated(Problem):
    """A request whose session token is missing or not to be believed."""

    def __init__(self, detail: str, *, retry: bool = True) -> None:
        super().__init__(401, detail, kind="session-token", headers=RETRY if retry else None)


class Renewable(Unauthenticated):
    """A request whose session token only has to be replaced by a new one."""


def caller(request: web.Request) -> SessionToken:
    """Who calls: the shop and the member of staff. Only handlers behind a guard may ask."""
    return request[_CALLER]


@dataclass(frozen=True, slots=True)
class SessionGuard:
    """Stands before handlers; takes the shop from the verified token alone, never from the request."""

    verifier: SessionTokenVerifier
    addresses: Addresses
    client_id: str
    app_url: str  # where browsers reach the app; a Host header is never asked
    clock: Clock

    def fetched(self, handler: Handler) -> Handler:
        """Guards what the app's pages fetch: the token stands in the header Authorization."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._admit(request, _bearer(request))
            return await handler(request)

        return guarded

    def page(self, handler: Handler) -> Handler:
        """Guards a page that the admin shows in a frame: the token stands in the query; without it the page bounces."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if "Authorization" in request.headers:
                token = self._admit(request, _bearer(request))
            elif (found := self._admitted_page(request)) is None:
                return self._bounced(request)
            else:
                token = found
            response = await handler(request)
            if response.prepared:
                raise RuntimeError("the page was sent before it could say who may frame it")
            policy = csp.framed_by(self.addresses.frame_ancestors(token.shop))
            response.headers.extend(policy)  # beside one of the page's own: browsers go by all of them
            return response

        return guarded

    async def bounce(self, request: web.Request) -> web.Response:
        """The page that only fetches a new session token and then opens the address it was sent away from."""
        shop = _named_shop(request)
        if shop is None:
            raise Problem(400, "this address needs shop=…myshopify.com", kind="shop")
        if not self._leads_back(request):
            raise Problem(400, "this address needs shopify-reload=, an address of the app", kind="reload")
        text = _BOUNCE_PAGE.format(
            client_id=escape(self.client_id), app_bridge=escape(self.addresses.app_bridge)
        )
        headers = csp.framed_by(self.addresses.frame_ancestors(shop)) | {"Cache-Control": "no-store"}
        return web.Response(text=text, content_type="text/html", headers=headers)

    def _leads_back(self, request: web.Request) -> bool:
        """Whether the new session token will go to the app: App Bridge adds it to whatever address stands there."""
        named = request.query.getall("shopify-reload", [])
        return len(named) == 1 and named[0].startswith(f"{self.app_url}/")

    def _admitted_page(self, request: web.Request) -> SessionToken | None:
        """The caller of a page; None where a new token would help."""
        text = request.query.get("id_token", "")
        if not text:
            return None
        try:
            return self._admit(request, text)
        except Renewable:
            return None

    def _admit(self, request: web.Request, text: str) -> SessionToken:
        if not text:
            raise Unauthenticated("this needs the header Authorization: Bearer <session token>")
        try:
            token = self.verifier.read(text, self.clock.now())
        except InvalidSessionToken as error:
            _COUNTED[Signer.NONE].inc()
            _refuse(request, error)
        _COUNTED[token.signer].inc()
        note(request, shop=token.shop, user=token.user_id)
        _require_admin_of(request, token)
        request[_CALLER] = token
        return token

    def _bounced(self, request: web.Request) -> web.Response:
        if _named_shop(request) is None:
            raise Unauthenticated("this page is opened from within the Shopify admin", retry=False)
        kept = [(name, value) for name, value in request.query.items() if name != "id_token"]
        reload = f"{self.app_url}{request.rel_url.raw_path}?{urlencode(kept)}"
        kept.append(("shopify-reload", reload))
        raise web.HTTPFound(f"{self.app_url}{BOUNCE}?{urlencode(kept)}")


def _refuse(request: web.Request, error: InvalidSessionToken) -> NoReturn:
    """A page whose token is only too old gets another one; one that was made for something else does not."""
    note(request, flaw=error.flaw.value)
    if error.flaw in _RENEWABLE:
        raise Renewable(error.detail) from error
    raise Unauthenticated(error.detail) from error


def _require_admin_of(request: web.Request, token: SessionToken) -> None:
    if not token.of_admin:
        raise Unauthenticated("the session token is not one of the Shopify admin", retry=False)
    if "shop" in request.query and _named_shop(request) != token.shop:
        raise Unauthenticated("the session token is for another shop than the address", retry=False)


def _named_shop(request: web.Request) -> str | None:
    named = request.query.getall("shop", [])
    try:
        return shop_domain(named[0]) if len(named) == 1 else None
    except InvalidShopDomain:
        return None


def _bearer(request: web.Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
