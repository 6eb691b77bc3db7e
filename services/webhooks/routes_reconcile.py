"""The doors of services/webhooks for whoever runs the app: the ledger of what has come, and a comparison now."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

import asyncpg
from aiohttp import web

from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.web import Handler, Problem, json_response, note
from services.webhooks import ledger_store, reconcile_store
from services.webhooks.config import Settings
from services.webhooks.params import moment_in, shop_in
from services.webhooks.reconcile import Reconciler
from services.webhooks.reconcile_plan import DAY, Span, hour_of, judged
from services.webhooks.reconcile_report import Question, report, state

MOST_LOST = 1_000
_ADDRESS = "/webhooks/reconciliation"


@dataclass(frozen=True, slots=True)
class ReconciliationEndpoints:
    """The handlers, with what they need. Without a reconciler the ledger can still be read."""

    settings: Settings
    pool: asyncpg.Pool
    clock: Clock
    reconciler: Reconciler | None

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to a holder of OPS_TOKEN."""
        return [
            web.get(_ADDRESS, guard(self.show)),
            web.post(_ADDRESS, guard(self.ask)),
            web.get(f"{_ADDRESS}/state", guard(self.show_state)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """`?shop=&since=&until=`: what was compared of that time, the last day if no other is named."""
        shop, question = shop_in(request), self._question(request)
        span = question.asked
        async with connection(self.pool, self.settings.database_timeout_seconds) as conn:
            with database_away_named():
                page = await ledger_store.page(conn, shop, hour_of(span.start), span.end, MOST_LOST + 1)
        if page is None:
            raise _not_compared()
        more = len(page.fed) > MOST_LOST
        since = reconcile_store.families(page.shop["families"])
        answer = report(question, page.shop, since, page.hours, page.fed[:MOST_LOST], judged())
        return json_response({**answer, "more_lost": more})

    async def show_state(self, request: web.Request) -> web.Response:
        """`?shop=`: whether a run is under way and how the last one ended, for whoever waits for it."""
        shop = shop_in(request)
        async with connection(self.pool, self.settings.database_timeout_seconds) as conn:
            with database_away_named():
                row = await ledger_store.state(conn, shop)
        if row is None:
            raise _not_compared()
        return json_response(state(row))

    async def ask(self, request: web.Request) -> web.Response:
        """`?shop=`: has the shop compared now, as far as `RECONCILE_GRACE_SECONDS` allows; 202 at once."""
        shop = shop_in(request)
        note(request, shop=shop)
        if self.reconciler is None:
            detail = "shops are not compared here: RECONCILE_EVERY_SECONDS is 0, or APP_URL is not set"
            raise Problem(409, detail, kind="no-reconciler")
        asked = await self.reconciler.ask(shop)
        if asked is None:
            raise _not_compared()
        return json_response({"shop": shop, "asked_at": asked}, status=HTTPStatus.ACCEPTED)

    def _question(self, request: web.Request) -> Question:
        now = self.clock.now()
        asked = Span(moment_in(request, "since", now - DAY), moment_in(request, "until", now))
        waited = self.settings.reconcile_grace_seconds + 2 * self.settings.reconcile_every_seconds
        return Question(asked, now, timedelta(seconds=waited))


def _not_compared() -> Problem:
    return Problem(
        404, "this shop is not compared: its subscriptions have not been checked yet, or the app is not installed",
        kind="no-such-shop",
    )  # fmt: skip
