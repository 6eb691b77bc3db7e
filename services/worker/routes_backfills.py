"""Backfills for whoever runs the app: `/api/backfills`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
from aiohttp import web

from libs.common.errors import ShopbusError
from libs.common.web import Handler, Problem, json_response, note, read_body
from services.worker.backfill_queries import RESOURCES
from services.worker.backfill_store import ACTIVE, ENDED
from services.worker.backfills import BackfillEnded, BackfillOpen, Backfills, NoSuchBackfill
from services.worker.jobs import (
    BadParameter,
    read_cursor,
    read_filter,
    read_id,
    read_limit,
    read_moment,
    read_text,
    refuse_unknown,
    write_cursor,
)

PER_PAGE, MOST_PER_PAGE = 50, 200
_BODY_BYTES, _BODY_SECONDS = 16 * 1024, 5.0

PROBLEMS: Mapping[type[ShopbusError], tuple[int, str]] = {
    BadParameter: (400, "bad-parameter"),
    NoSuchBackfill: (404, "no-such-backfill"),
    BackfillOpen: (409, "backfill-open"),
    BackfillEnded: (409, "backfill-ended"),
}


@dataclass(frozen=True, slots=True)
class BackfillEndpoints:
    """The handlers, with what they need."""

    backfills: Backfills

    def routes(self, ops: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to a holder of OPS_TOKEN, whom `ops` lets in."""
        return [
            web.post("/api/backfills", ops(_spoken(self.start))),
            web.get("/api/backfills", ops(_spoken(self.page))),
            web.get("/api/backfills/{id}", ops(_spoken(self.show))),
            web.post("/api/backfills/{id}/cancel", ops(_spoken(self.cancel))),
        ]

    async def start(self, request: web.Request) -> web.Response:
        """`{"shop", "resource", "since"}`: begins to fetch what was updated since then."""
        refuse_unknown(request.query, ())
        given = await _object(request)
        refuse_unknown(given, ("shop", "resource", "since"))
        shop, resource, since = read_filter(given).shop, _one_of(given, "resource", RESOURCES), _since(given)
        if shop is None:
            raise BadParameter("shop", "a shop's domain like name.myshopify.com")
        if resource is None:
            raise BadParameter("resource", f"one of {', '.join(RESOURCES)}")
        begun = await self.backfills.start(shop, resource, since)
        note(request, backfill=str(begun["id"]))
        return json_response(begun, 202, {"Location": f"/api/backfills/{begun['id']}"})

    async def page(self, request: web.Request) -> web.Response:
        """`?shop=&resource=&status=&limit=&cursor=`, newest first; the list ends where `next` is null."""
        query = request.query
        refuse_unknown(query, ("shop", "resource", "status", "limit", "cursor"))
        limit = read_limit(query, PER_PAGE, MOST_PER_PAGE)
        found = await self.backfills.page(
            read_cursor(query), limit, shop=read_filter({"shop": query.get("shop")}).shop,
            resource=_one_of(query, "resource", RESOURCES), status=_one_of(query, "status", (*ACTIVE, *ENDED)),
        )  # fmt: skip
        following = write_cursor(found[-1]["id"]) if len(found) == limit else None
        return json_response({"backfills": found, "next": following})

    async def show(self, request: web.Request) -> web.Response:
        """One job, and how far it is."""
        return json_response(await self.backfills.show(read_id(request.match_info["id"])))

    async def cancel(self, request: web.Request) -> web.Response:
        """Has a job ended; messages that it made stay."""
        return json_response(await self.backfills.cancel(read_id(request.match_info["id"])), 202)


async def _object(request: web.Request) -> dict[str, object]:
    body = await read_body(request, limit=_BODY_BYTES, seconds=_BODY_SECONDS)
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise BadParameter("the body", "a JSON object with shop, resource and since")
    return given


def _since(given: Mapping[str, object]) -> datetime:
    since = read_moment(given, "since")
    if since is None:
        raise BadParameter("since", "a time like 2026-11-21T08:00:00Z")
    return since


def _one_of(
    given: Mapping[str, object], name: str, known: Mapping[str, object] | tuple[str, ...]
) -> str | None:
    value = read_text(given, name)
    if value is not None and value not in known:
        raise BadParameter(name, f"one of {', '.join(known)}")
    return value


def _spoken(handler: Handler) -> Handler:
    """Says what was refused as a problem."""

    async def spoken(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except tuple(PROBLEMS) as error:
            status, kind = PROBLEMS[type(error)]
            raise Problem(status, str(error), kind=kind) from error

    return spoken
