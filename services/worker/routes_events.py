"""What the app's pages ask of a shop's pixel events. The shop is that of the session token, never one that is named."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import orjson
from aiohttp import web

from libs.common.clock import Clock
from libs.common.web import Handler, Problem, json_response
from libs.common.web_session import caller
from services.worker.events import Events
from services.worker.events_store import Spot, Wanted
from services.worker.jobs import BadParameter, read_flag, read_limit, read_moment, read_text, refuse_unknown

PER_PAGE, MOST_PER_PAGE = 50, 200
MOST_IN_TIMELINE = 1_000
USUAL_DAYS, MOST_DAYS = 7, 92
_SPAN = ("since", "until")
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class EventsEndpoints:
    """The handlers, with what they need."""

    events: Events
    clock: Clock

    def routes(self, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
        """What is answered to who shows a session token, whom `guard` lets in."""
        return [
            web.get("/api/events", guard(_spoken(self.list_events)), allow_head=False),
            web.get("/api/events/stats", guard(_spoken(self.show_stats)), allow_head=False),
            web.get("/api/events/visitors/{client}", guard(_spoken(self.show_visitor)), allow_head=False),
        ]

    async def list_events(self, request: web.Request) -> web.Response:
        """`?name=&client=&since=&until=&limit=&cursor=`, newest first. The list ends where `next` is null."""
        query = request.query
        refuse_unknown(query, ("name", "client", *_SPAN, "limit", "cursor", "shop"))
        since, until = self._span(request)
        wanted = Wanted(
            caller(request).shop, since, until, read_text(query, "name"), read_text(query, "client")
        )
        page = await self.events.page(
            wanted, _read_cursor(read_text(query, "cursor")), read_limit(query, PER_PAGE, MOST_PER_PAGE)
        )
        following = None if page.next is None else _write_cursor(page.next)
        return json_response({"events": page.events, "next": following}, headers=_NO_STORE)

    async def show_stats(self, request: web.Request) -> web.Response:
        """`?since=&until=&bots=`: events by day and name, and the funnel, of whole days in UTC."""
        refuse_unknown(request.query, (*_SPAN, "bots", "shop"))
        bots = read_flag(request.query, "bots")
        answer = await self.events.stats(caller(request).shop, self._days(request), bots=bots)
        return json_response(answer, headers=_NO_STORE)

    async def show_visitor(self, request: web.Request) -> web.Response:
        """`?since=&until=&skip=&limit=`: a visitor's events in the order of their seq."""
        refuse_unknown(request.query, (*_SPAN, "skip", "limit", "shop"))
        client = read_text({"client": request.match_info["client"]}, "client")
        limit = read_limit(request.query, MOST_IN_TIMELINE, MOST_IN_TIMELINE)
        skip = read_limit(request.query, 0, 100_000, name="skip", least=0)
        events = await self.events.timeline(
            caller(request).shop, client or "", self._days(request), skip=skip, limit=limit
        )
        following = skip + limit if len(events) == limit else None
        return json_response({"client_id": client, "events": events, "next": following}, headers=_NO_STORE)

    def _span(self, request: web.Request) -> tuple[datetime, datetime]:
        """The time that is asked for, by default the last days and all that clocks ahead of ours say."""
        now = self.clock.now()
        until = read_moment(request.query, "until") or now + timedelta(days=1)
        since = read_moment(request.query, "since") or min(now, until) - timedelta(days=USUAL_DAYS)
        if not timedelta(0) <= until - since <= timedelta(days=MOST_DAYS):
            raise BadParameter("since", f"before until, and by {MOST_DAYS} days at most")
        return since, until

    def _days(self, request: web.Request) -> tuple[date, date]:
        since, until = self._span(request)
        return since.astimezone(UTC).date(), until.astimezone(UTC).date()


def _write_cursor(spot: Spot) -> str:
    text = orjson.dumps([spot.occurred_at, spot.event_id])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _read_cursor(text: str | None) -> Spot | None:
    if text is None:
        return None
    try:
        stamp, identifier = orjson.loads(base64.b64decode(f"{text}==", altchars=b"-_", validate=True))
        spot = Spot(datetime.fromisoformat(stamp).astimezone(UTC), identifier)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        spot = None
    if spot is None or not isinstance(spot.event_id, str) or not spot.event_id.isprintable():
        raise BadParameter("cursor", "what the page before answered as next")
    return spot


def _spoken(handler: Handler) -> Handler:
    async def spoken(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadParameter as error:
            raise Problem(400, str(error), kind="bad-parameter") from error

    return spoken
