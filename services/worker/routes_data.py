"""What the app's pages ask of their shop's products, orders and customers.

The shop is that of the session token, never one that is named; its access token never comes this far.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil

import orjson
from aiohttp import ETag, web

from libs.common.errors import ShopbusError
from libs.common.runtime.outcomes import Later
from libs.common.shopify.admin import errors
from libs.common.token_client import NeedsAuthorization, NotInstalled
from libs.common.web import Handler, Problem, json_response, note
from libs.common.web_session import caller
from services.worker.data import (
    SUBJECTS,
    BadCursor,
    Data,
    MissingScope,
    NoSuchThing,
    Subject,
    UnexpectedAnswer,
    Wanted,
)
from services.worker.data_cache import Found
from services.worker.jobs import BadParameter, read_limit, read_moment, read_text, refuse_unknown

PER_PAGE, MOST_PER_PAGE = 50, 250
LARGEST_ID = (1 << 63) - 1
_AWAY_SECONDS = 5.0  # where nothing says how long it takes
_CACHE = "private, no-cache"  # a browser may keep it and has to ask whether it is still true

OUTCOMES: Mapping[type[ShopbusError], tuple[int, str]] = {
    BadParameter: (400, "bad-parameter"),
    BadCursor: (400, "bad-parameter"),
    NoSuchThing: (404, "no-such-thing"),
    MissingScope: (403, "missing-scope"),
    UnexpectedAnswer: (502, "unexpected-answer"),
    NotInstalled: (409, "not-installed"),
    NeedsAuthorization: (409, "needs-authorization"),  # AccessEnded among them
    errors.AccessEnded: (409, "needs-authorization"),
    errors.ShopFrozen: (402, "shop-frozen"),
    errors.ShopLocked: (423, "shop-locked"),
    errors.ShopInactive: (423, "shop-inactive"),
    errors.Throttled: (429, "throttled"),
    errors.Postponed: (503, "shopify-away"),  # a rejection, an open circuit, auth away
    errors.Unavailable: (503, "shopify-away"),
    errors.Forbidden: (403, "forbidden"),
    errors.NotThere: (404, "no-such-shop"),
    errors.Refused: (502, "query-refused"),  # we asked wrongly: no fault of the caller's
}
"""Each outcome of a question, as the caller is told it; the nearest kind of error decides."""


@dataclass(frozen=True, slots=True)
class DataEndpoints:
    """The handlers, with what they need."""

    data: Data

    def routes(
        self, guard: Callable[[Handler], Handler], ops: Callable[[Handler], Handler]
    ) -> list[web.RouteDef]:
        """What is answered to who shows a session token, and the statistics for who runs the app."""
        found = [web.get("/api/data/cache", ops(self.show_cache), allow_head=False)]
        for subject in SUBJECTS:
            address = f"/api/{subject.many}"
            found += [
                web.get(address, guard(_spoken(partial(self.show_page, subject))), allow_head=False),
                web.get(
                    f"{address}/{{id}}", guard(_spoken(partial(self.show_one, subject))), allow_head=False
                ),
            ]
        transactions = guard(_spoken(self.show_transactions))
        return [*found, web.get("/api/orders/{id}/transactions", transactions, allow_head=False)]

    async def show_page(self, subject: Subject, request: web.Request) -> web.Response:
        """`?updated_since=&status=&limit=&cursor=`, the newest change first. The list ends where `next` is null."""
        query = request.query
        known = ("updated_since", *(("status",) if subject.statuses else ()), "limit", "cursor", "shop")
        refuse_unknown(query, known)
        since, status = read_moment(query, "updated_since"), _read_status(request, subject)
        mark = _mark(f"{subject.many} {since} {status}")
        after = _read_cursor(query.get("cursor") or None, mark)
        wanted = Wanted(read_limit(query, PER_PAGE, MOST_PER_PAGE), since, status, after)
        found = await self.data.page(caller(request).shop, subject, wanted, partial(_write_cursor, mark))
        return self._shown(request, found)

    async def show_one(self, subject: Subject, request: web.Request) -> web.Response:
        """One product, order or customer."""
        refuse_unknown(request.query, ("shop",))
        return self._shown(request, await self.data.detail(caller(request).shop, subject, _read_id(request)))

    async def show_transactions(self, request: web.Request) -> web.Response:
        """An order's transactions, all of them."""
        refuse_unknown(request.query, ("shop",))
        return self._shown(request, await self.data.transactions(caller(request).shop, _read_id(request)))

    async def show_cache(self, _: web.Request) -> web.Response:
        """What this process keeps of answers."""
        return json_response(self.data.cache.statistics())

    def _shown(self, request: web.Request, found: Found) -> web.Response:
        answer, tag = found.answer, ETag(found.answer.etag)
        note(request, cache=found.source)
        headers = {
            "Cache-Control": _CACHE, "Vary": "Authorization", "X-Shopbus-Cache": found.source,
            "Age": str(self.data.cache.age(answer)),
        }  # fmt: skip
        if answer.missing:
            headers["X-Shopbus-Missing"] = ", ".join(answer.missing)
        given = request.if_none_match or ()
        known = any(one.value in {tag.value, "*"} for one in given)
        response = web.Response(status=304, headers=headers) if known else web.Response(
            body=answer.body, headers=headers, content_type="application/json"
        )  # fmt: skip
        response.etag = tag
        return response


def problem_of(error: ShopbusError) -> Problem | None:
    """What the caller is told; None for what is no outcome of a question."""
    for kind in type(error).__mro__:
        if kind in OUTCOMES:
            status, slug = OUTCOMES[kind]
            return Problem(status, _detail(error, slug), kind=slug, headers=_retry(error, status))
    return None


def _detail(error: ShopbusError, slug: str) -> str:
    """Our own words; Shopify's are in the log."""
    if isinstance(error, BadCursor):
        return str(BadParameter("cursor", "what the page before answered as next"))
    return DETAILS.get(slug) or str(error)


DETAILS = {
    "no-such-thing": "the shop has nothing of this id that the app may see",
    "needs-authorization": "the app's access to this shop has ended; the merchant has to open the app once",
    "not-installed": "the app is not installed on this shop",
    "shop-frozen": "Shopify has frozen this shop until its merchant has paid",
    "shop-locked": "Shopify has locked this shop",
    "shop-inactive": "this shop is closed or paused",
    "throttled": "the shop's share of Shopify's API is used up for the moment",
    "shopify-away": "Shopify does not answer at the moment",
    "forbidden": "Shopify does not let the app read this",
    "no-such-shop": "Shopify does not know this shop any more",
    "query-refused": "Shopify did not take the question; the log has the story",
    "unexpected-answer": "Shopify's answer could not be read; the log has the story",
}


def _retry(error: ShopbusError, status: int) -> dict[str, str]:
    if isinstance(error, Later) and status in {402, 423, 429, 503}:
        return {"Retry-After": str(max(1, ceil(error.seconds)))}
    return {"Retry-After": str(ceil(_AWAY_SECONDS))} if status == 503 else {}  # noqa: PLR2004 - HTTP's


def _spoken(handler: Handler) -> Handler:
    async def spoken(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ShopbusError as error:
            problem = problem_of(error)
            if problem is None:
                raise
            note(request, why=str(error), shopify_request=getattr(error, "request_id", None))
            raise problem from error

    return spoken


def _read_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= LARGEST_ID:  # noqa: PLR2004
        return int(text)
    raise BadParameter("id", "a number, as Shopify's ids end with")


def _read_status(request: web.Request, subject: Subject) -> str | None:
    status = read_text(request.query, "status")
    if status is not None and status not in subject.statuses:
        raise BadParameter("status", f"one of {', '.join(subject.statuses)}")
    return status


def _mark(asked: str) -> str:
    """Says to which list a cursor belongs."""
    return hashlib.sha256(asked.encode()).hexdigest()[:8]


def _write_cursor(mark: str, after: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([mark, after])).rstrip(b"=").decode()


def _read_cursor(text: str | None, mark: str) -> str | None:
    if text is None:
        return None
    try:
        found, after = orjson.loads(base64.b64decode(f"{text}==", altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error):
        found, after = None, None
    if found != mark or not isinstance(after, str):
        raise BadParameter("cursor", "what the page before answered as next, with the same filters")
    return after
