"""The doors of auth for whoever runs the app, and for the other services."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from libs.common.service_token import InvalidServiceToken, ServiceKey
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.token_box import KeyMissing
from libs.common.web import Handler, Problem, json_response, note
from services.auth import metrics
from services.auth.refusals import NeedsAuthorization, NotInstalled, TryLater
from services.auth.routes import try_later
from services.auth.sessions import Sessions
from services.auth.sessions_store import Filter
from services.auth.tokens import Tokens, Usable

AUDIENCE = "auth"
MOST_PER_PAGE, PER_PAGE = 500, 100
_NO_STORE = {"Cache-Control": "no-store"}
_KINDS = {"online": True, "offline": False}
_LONGEST = 300
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OpsEndpoints:
    """The handlers, with what they need."""

    sessions: Sessions

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to a holder of OPS_TOKEN."""
        return [
            web.get("/auth/sessions", guard(self.list_sessions)),
            web.get("/auth/sessions/stats", guard(self.show_stats)),
            web.get("/auth/sessions/{id}", guard(self.show_session)),
            web.delete("/auth/sessions/{id}", guard(self.end_session)),
        ]

    async def list_sessions(self, request: web.Request) -> web.Response:
        """`?shop=&kind=&cursor=&limit=`; the list ends where `next` is null."""
        limit = _limit(request)
        wanted = Filter(_shop(request), _kind(request))
        rows = await self.sessions.page(wanted, _cursor(request), limit)
        following = rows[-1]["id"] if len(rows) == limit else None
        return json_response({"sessions": rows, "next": following}, headers=_NO_STORE)

    async def show_stats(self, _: web.Request) -> web.Response:
        """Shops and sessions, counted."""
        return json_response(await self.sessions.stats(), headers=_NO_STORE)

    async def show_session(self, request: web.Request) -> web.Response:
        """One session, without its tokens."""
        found = await self.sessions.show(_session_id(request))
        if found is None:
            raise _no_such_session()
        return json_response(found, headers=_NO_STORE)

    async def end_session(self, request: web.Request) -> web.Response:
        """Deletes one session. Without its offline one, a shop's merchant has to open the app again."""
        found = await self.sessions.show(_session_id(request))
        if found is None or not await self.sessions.end(found["id"], found["shop"]):
            raise _no_such_session()
        note(request, shop=found["shop"])
        return json_response({"ended": found["id"]})


@dataclass(frozen=True, slots=True)
class InternalEndpoints:
    """What other services ask. The gateway does not let anybody else come here."""

    tokens: Tokens
    key: ServiceKey
    clock: Clock

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/internal/auth/shops/{shop}/token", self.token, allow_head=False)]

    async def token(self, request: web.Request) -> web.Response:
        """The shop's token. `?refused=<version>`: Shopify answered 401 to that one."""
        note(request, caller=self._caller(request))
        shop = _shop_in_path(request)
        note(request, shop=shop)
        try:
            usable = await self.tokens.usable(shop, _refused_version(request))
        except (NotInstalled, NeedsAuthorization, TryLater) as error:
            _refuse(error)
        except KeyMissing as error:  # another process has a newer key already
            _refuse(TryLater(str(error), 5.0))
        metrics.SERVED.labels("renewed" if usable.renewed else "stored").inc()
        return json_response(_given(usable), headers=_NO_STORE)

    def _caller(self, request: web.Request) -> str:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        token = given.strip() if scheme.lower() == "bearer" else ""
        try:
            return self.key.caller(token, audience=AUDIENCE, now=self.clock.now())
        except InvalidServiceToken as error:
            raise Problem(
                401, "this needs a service's token in Authorization", kind="service-token"
            ) from error


def _given(usable: Usable) -> dict[str, object]:
    return {
        "shop": usable.shop,
        "access_token": usable.access_token,
        "scopes": usable.scopes,
        "expires_at": usable.expires_at,
        "version": usable.version,
        "generation": usable.generation,
    }


def _refuse(error: ShopbusError) -> NoReturn:
    if isinstance(error, TryLater):
        metrics.SERVED.labels("try_later").inc()
        raise try_later(error) from error
    missing = isinstance(error, NotInstalled)
    metrics.SERVED.labels("not_installed" if missing else "needs_authorization").inc()
    kind = "not-installed" if missing else "needs-authorization"
    raise Problem(404 if missing else 409, str(error), kind=kind) from error


def _shop_in_path(request: web.Request) -> str:
    try:
        return shop_domain(request.match_info["shop"])
    except InvalidShopDomain:
        raise _bad("shop", "name.myshopify.com") from None


def _refused_version(request: web.Request) -> int | None:
    text = request.query.get("refused")
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise _bad("refused", "the version of a token")
    return int(text)


def _shop(request: web.Request) -> str | None:
    text = request.query.get("shop")
    try:
        return shop_domain(text) if text else None
    except InvalidShopDomain:
        raise _bad("shop", "name.myshopify.com") from None


def _kind(request: web.Request) -> bool | None:
    text = request.query.get("kind")
    if text and text not in _KINDS:
        raise _bad("kind", "online or offline")
    return _KINDS[text] if text else None


def _session_id(request: web.Request) -> str:
    name = request.match_info["id"]
    if not _is_text(name):
        raise _no_such_session()
    return name


def _cursor(request: web.Request) -> str:
    text = request.query.get("cursor", "")[:_LONGEST]
    if not _is_text(text):
        raise _bad("cursor", "what `next` was")
    return text


def _is_text(given: str) -> bool:
    """Whether Postgres takes it: not a NUL, nor half a character. No id holds what cannot be printed."""
    return given.isprintable()


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PER_PAGE))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_PER_PAGE:
        raise _bad("limit", f"a whole number from 1 to {MOST_PER_PAGE}")
    return int(text)


def _bad(name: str, wanted: str) -> Problem:
    return Problem(400, f"{name} has to be {wanted}", kind="bad-parameter")


def _no_such_session() -> Problem:
    return Problem(404, "there is no such session", kind="no-such-session")
