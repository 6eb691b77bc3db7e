"""The doors of services/webhooks for whoever runs the app: the deliveries log and what was turned away."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import asyncpg
import orjson
from aiohttp import web

from libs.common.db import Connection, connection, database_away_named
from libs.common.ids import id_floor
from libs.common.shopify.webhook_headers import InvalidHeader, message_type
from libs.common.web import Handler, Problem, json_response, note
from services.webhooks import store
from services.webhooks.params import bad, moment_in, shop_in
from services.webhooks.store import Filter

P = ParamSpec("P")
T = TypeVar("T")

SCAN_DEPTH = 20_000  # deliveries that one page looks through
MOST_PER_PAGE, PER_PAGE = 500, 100
_NEWEST = UUID(int=(1 << 128) - 1)
_LAST_ROW = (1 << 63) - 1
_LONGEST_NUMBER = 19  # digits; longer ones are not even parsed
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OpsEndpoints:
    """The handlers, with what they need."""

    pool: asyncpg.Pool
    timeout: float

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to a holder of OPS_TOKEN."""
        return [
            web.get("/webhooks/deliveries", guard(self.list_deliveries)),
            web.get("/webhooks/deliveries/{id}", guard(self.show_delivery)),
            web.get("/webhooks/deliveries/{id}/body", guard(self.show_body)),
            web.get("/webhooks/rejected", guard(self.list_rejected)),
        ]

    async def list_deliveries(self, request: web.Request) -> web.Response:
        """`?shop=&topic=&since=&cursor=&limit=`. A page may be short or empty; the log ends where `next` is null."""
        wanted = Filter(shop=shop_in(request) if request.query.get("shop") else None, type=_type(request))
        before, since = _cursor(request), id_floor(moment_in(request, "since", _BEGINNING))
        limit = _whole(request, "limit", PER_PAGE, MOST_PER_PAGE)
        floor = await self._query(store.floor, before, since, SCAN_DEPTH)
        rows = await self._query(store.deliveries, wanted, before=before, floor=floor or since, limit=limit)
        following = rows[-1]["message_id"] if len(rows) == limit else floor
        return json_response({"deliveries": [_shown(row) for row in rows], "next": following})

    async def show_delivery(self, request: web.Request) -> web.Response:
        """One delivery's headers and what is known of it, without its body."""
        row = await self._query(store.delivery, _message_id(request))
        if row is None:
            raise _no_such_delivery()
        return json_response(_shown(row))

    async def show_body(self, request: web.Request) -> web.Response:
        """The body byte for byte. Its sender chose it, so a browser is told to save it and not to look into it."""
        body = await self._query(store.body, _message_id(request))
        if body is None:
            raise _no_such_delivery()
        note(request, body_shown=True)
        return web.Response(
            body=body,
            content_type="application/octet-stream",
            headers={"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"},
        )

    async def list_rejected(self, request: web.Request) -> web.Response:
        """`?reason=&cursor=&limit=`: the last requests that were turned away."""
        limit = _whole(request, "limit", PER_PAGE, MOST_PER_PAGE)
        before = _whole(request, "cursor", _LAST_ROW, _LAST_ROW)
        rows = await self._query(
            store.rejections, reason=request.query.get("reason"), before=before, limit=limit
        )
        following = str(rows[-1]["id"]) if len(rows) == limit else None
        return json_response({"rejected": [dict(row) for row in rows], "next": following})

    async def _query(
        self, ask: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await ask(conn, *args, **kwargs)


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    headers = row["headers"]
    return {
        **row,
        "headers": orjson.Fragment(headers) if headers else {},
    }


def _type(request: web.Request) -> str | None:
    text = request.query.get("topic")
    try:
        return message_type(text) if text else None
    except InvalidHeader as error:
        raise bad("topic", "like orders/create") from error


def _cursor(request: web.Request) -> UUID:
    text = request.query.get("cursor")
    try:
        return UUID(text) if text else _NEWEST
    except ValueError as error:
        raise bad("cursor", "what the page before answered as next") from error


def _message_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError as error:
        raise _no_such_delivery() from error


def _whole(request: web.Request, name: str, otherwise: int, most: int) -> int:
    text = request.query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER and 1 <= int(text) <= most):
        raise bad(name, f"a whole number from 1 to {most}")
    return int(text)


def _no_such_delivery() -> Problem:
    return Problem(404, "there is no such delivery, or its time is over", kind="no-such-delivery")
