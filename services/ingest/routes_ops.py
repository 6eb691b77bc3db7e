"""The doors of services/ingest for whoever runs the app: the quarantine."""

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
from aiohttp import web

from libs.common.db import connection, database_away_named
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.web import Handler, Problem, json_response
from services.ingest import store
from services.ingest.events import Cause

MOST_PER_PAGE, PER_PAGE = 500, 100
_LAST_ROW = (1 << 63) - 1
_LONGEST_NUMBER = 19  # digits; longer ones are not even parsed


@dataclass(frozen=True, slots=True)
class OpsEndpoints:
    """The handlers, with what they need."""

    pool: asyncpg.Pool
    timeout: float

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to a holder of OPS_TOKEN."""
        return [web.get("/ingest/quarantine", guard(self.list_quarantine))]

    async def list_quarantine(self, request: web.Request) -> web.Response:
        """`?cause=&shop=&cursor=&limit=`; the list ends where `next` is null. `causes` counts all that is kept."""
        limit = _whole(request, "limit", PER_PAGE, MOST_PER_PAGE)
        before, cause, shop = _whole(request, "cursor", _LAST_ROW, _LAST_ROW), _cause(request), _shop(request)
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                rows = await store.quarantine_page(conn, before=before, cause=cause, shop=shop, limit=limit)
                causes = await store.quarantine_counts(conn)
        following = str(rows[-1]["id"]) if len(rows) == limit else None
        return json_response(
            {
                "quarantine": [dict(row) for row in rows],
                "causes": [dict(row) for row in causes],
                "next": following,
            }
        )


def _cause(request: web.Request) -> str | None:
    text = request.query.get("cause")
    try:
        return Cause(text).value if text else None
    except ValueError:
        raise _bad("cause", f"one of {', '.join(Cause)}") from None


def _shop(request: web.Request) -> str | None:
    text = request.query.get("shop")
    try:
        return shop_domain(text) if text else None
    except InvalidShopDomain:
        raise _bad("shop", "name.myshopify.com") from None


def _whole(request: web.Request, name: str, otherwise: int, most: int) -> int:
    text = request.query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER and 1 <= int(text) <= most):
        raise _bad(name, f"a whole number from 1 to {most}")
    return int(text)


def _bad(name: str, wanted: str) -> Problem:
    return Problem(400, f"{name} has to be {wanted}", kind="bad-parameter")
