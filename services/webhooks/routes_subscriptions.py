"""The doors of services/webhooks for whoever runs the app: each shop's subscriptions, wanted and actual."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiohttp import web

from libs.common.contracts.subscriptions import by_api
from libs.common.db import connection, database_away_named
from libs.common.web import Handler, Problem, json_response, note
from services.webhooks import subscriptions_store
from services.webhooks.params import shop_in
from services.webhooks.subscriptions import Keeper
from services.webhooks.subscriptions_plan import State
from services.webhooks.subscriptions_store import Page

_PER_PAGE = 100
_HISTORY = 50


@dataclass(frozen=True, slots=True)
class SubscriptionEndpoints:
    """The handlers, with what they need. Without a keeper nothing is repaired."""

    pool: asyncpg.Pool
    timeout: float
    keeper: Keeper | None

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to a holder of OPS_TOKEN."""
        return [
            web.get("/webhooks/subscriptions", guard(self.show)),
            web.post("/webhooks/subscriptions/check", guard(self.check)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """`?shop=`: what the last check left behind. Without it: all shops, `?cursor=` by `?cursor=`."""
        if request.query.get("shop"):
            return json_response(await self._page(shop_in(request)))
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                rows = await subscriptions_store.shops(conn, request.query.get("cursor", ""), _PER_PAGE)
        following = rows[-1]["shop"] if len(rows) == _PER_PAGE else None
        return json_response({"shops": [dict(row) for row in rows], "next": following})

    async def check(self, request: web.Request) -> web.Response:
        """`?shop=`: reads and repairs now, and shows what came of it; `error` says what kept it from its end."""
        shop = shop_in(request)
        note(request, shop=shop)
        if self.keeper is None:
            raise Problem(409, "APP_URL is not set, so nobody knows where to", kind="no-app-url")
        if not await self.keeper.check_now(shop):
            headers = {"Retry-After": "5"}
            raise Problem(409, "another check is under way", kind="check-under-way", headers=headers)
        return json_response(await self._page(shop))

    async def _page(self, shop: str) -> dict[str, Any]:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                page = await subscriptions_store.page(conn, shop, _HISTORY)
        if page is None:
            raise Problem(404, "no install of this shop has been heard of", kind="no-such-shop")
        return self._shown(page)

    def _shown(self, page: Page) -> dict[str, Any]:
        known = {row["topic"]: dict(row) for row in page.states if row["state"] != State.STRANGER}
        unknown = {"subscription_id": "", "state": "unknown", "uri": None, "problem": None}
        wanted = [
            {**unknown, **known.get(one.topic, {}), "topic": one.topic, "scope": one.scope}
            for one in by_api()
        ]
        strangers = [dict(row) for row in page.states if row["state"] == State.STRANGER]
        return {
            **dict(page.shop),
            "wanted_uri": self.keeper.uri if self.keeper else None,
            "drift": sum(one["state"] != State.OK for one in wanted) + len(strangers),
            "topics": wanted,
            "strangers": strangers,
            "history": [dict(row) for row in page.history],
        }
