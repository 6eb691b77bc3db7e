"""The doors to privacy cases: all of them for whoever runs the app, a merchant's own for the merchant."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from libs.common.errors import ShopbusError
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.session_token import SessionTokenVerifier
from libs.common.web import Handler, Problem, json_response, note
from libs.common.web_session import SessionGuard, caller
from services.worker import privacy_files
from services.worker.cases import KINDS
from services.worker.config import Settings
from services.worker.jobs import (
    BadParameter,
    read_cursor,
    read_filter,
    read_id,
    read_limit,
    refuse_unknown,
    write_cursor,
)
from services.worker.privacy import Privacy
from services.worker.privacy_files import NoSuchCase, NothingToGive

PER_PAGE, MOST_PER_PAGE = 50, 200
STATUSES = ("open", "ready", "done", "superseded")
_NO_STORE = {"Cache-Control": "no-store"}
_PROBLEMS: Mapping[type[ShopbusError], tuple[int, str]] = {
    BadParameter: (400, "bad-parameter"),
    NoSuchCase: (404, "no-such-case"),
    NothingToGive: (409, "no-file"),
}

Answer = Callable[[web.Request, str | None], Awaitable[web.Response]]
"""Answers somebody who may see the cases of this shop, or all where it is None."""


def routes(privacy: Privacy, settings: Settings, ops: Callable[[Handler], Handler]) -> list[web.RouteDef]:
    """What is answered to a holder of OPS_TOKEN, whom `ops` lets in, and to a merchant with a session token."""
    endpoints, merchants = Endpoints(privacy), _merchants(privacy, settings)

    def guarded(answer: Answer) -> Handler:
        for_all, for_shop = ops(_for_all(answer)), merchants.fetched(_for_shop(answer))

        async def by_token(request: web.Request) -> web.StreamResponse:
            return await (for_shop if _shows_session_token(request) else for_all)(request)

        return by_token

    return [
        web.get("/api/privacy/cases", guarded(endpoints.list_cases)),
        web.get("/api/privacy/cases/{id}", guarded(endpoints.show_case)),
        # Who fetches the file has been given it, so a HEAD must not.
        web.get("/api/privacy/cases/{id}/export", guarded(endpoints.export), allow_head=False),
    ]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers, with what they need."""

    privacy: Privacy

    async def list_cases(self, request: web.Request, shop: str | None) -> web.Response:
        """`?kind=&status=&shop=&limit=&cursor=`, newest first; the list ends where `next` is null."""
        refuse_unknown(request.query, ("kind", "status", "shop", "limit", "cursor"))
        limit = read_limit(request.query, PER_PAGE, MOST_PER_PAGE)
        cases = await privacy_files.page(
            self.privacy, read_cursor(request.query), limit, kind=_one_of(request, "kind", tuple(KINDS.values())),
            status=_one_of(request, "status", STATUSES), shop=shop or _shop(request),
        )  # fmt: skip
        following = write_cursor(cases[-1]["id"]) if len(cases) == limit else None
        return json_response({"cases": cases, "next": following}, headers=_NO_STORE)

    async def show_case(self, request: web.Request, shop: str | None) -> web.Response:
        """One case, with its steps and its receipt."""
        case = await privacy_files.show(self.privacy, read_id(request.match_info["id"]), shop)
        return json_response(case, headers=_NO_STORE)

    async def export(self, request: web.Request, shop: str | None) -> web.Response:
        """The file for the customer of a data request. The first who fetches it ends the case."""
        identifier = read_id(request.match_info["id"])
        file = await privacy_files.export(self.privacy, identifier, shop)
        note(request, case=str(identifier))
        name = f'attachment; filename="data-request-{identifier}.zip"'
        headers = {**_NO_STORE, "Content-Disposition": name, "X-Content-Type-Options": "nosniff"}
        return web.Response(body=file, content_type="application/zip", headers=headers)


def _merchants(privacy: Privacy, settings: Settings) -> SessionGuard:
    old = settings.shopify_api_secret_old
    verifier = SessionTokenVerifier(
        settings.shopify_api_key,
        settings.shopify_api_secret.get_secret_value(),
        old.get_secret_value() if old else None,
    )
    return SessionGuard(
        verifier, Addresses(), settings.shopify_api_key, "", privacy.clock
    )  # it guards no pages


def _shows_session_token(request: web.Request) -> bool:
    """Whether what stands in Authorization is a JWT, which OPS_TOKEN is not."""
    _, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip().startswith("eyJ") and given.count(".") == 2  # noqa: PLR2004


def _for_all(answer: Answer) -> Handler:
    async def answered(request: web.Request) -> web.StreamResponse:
        return await _spoken(answer, request, None)

    return answered


def _for_shop(answer: Answer) -> Handler:
    async def answered(request: web.Request) -> web.StreamResponse:
        return await _spoken(answer, request, caller(request).shop)

    return answered


async def _spoken(answer: Answer, request: web.Request, shop: str | None) -> web.Response:
    """Says what was refused as a problem."""
    try:
        return await answer(request, shop)
    except tuple(_PROBLEMS) as error:
        status, kind = _PROBLEMS[type(error)]
        raise Problem(status, str(error), kind=kind) from error


def _one_of(request: web.Request, name: str, known: tuple[str, ...]) -> str | None:
    given = request.query.get(name)
    if given and given not in known:
        raise BadParameter(name, f"one of {', '.join(known)}")
    return given or None


def _shop(request: web.Request) -> str | None:
    return read_filter({"shop": request.query.get("shop")}).shop
