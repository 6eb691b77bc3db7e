"""The doors of services/worker for whoever runs the app: where a message stands, and putting it back to work."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

import orjson
from aiohttp import web

from libs.common.contracts.topology import CONSUMERS
from libs.common.errors import ShopbusError
from libs.common.web import Handler, Problem, json_response, read_body
from services.worker import service
from services.worker.jobs import (
    FILTER_NAMES,
    BadParameter,
    read_cursor,
    read_filter,
    read_flag,
    read_id,
    read_limit,
    refuse_unknown,
    write_cursor,
)
from services.worker.jobs_page import Json, short_form
from services.worker.jobs_recent import Recent
from services.worker.service import Books, JobBusy, NoSuchJob, PayloadGone, Progress

PER_PAGE, MOST_PER_PAGE = 50, 200
MOST_REPLAYED = 100_000  # at one request
STATS_SECONDS = 1.0  # how old an answer of /api/stats may be
_FILTER_BYTES, _FILTER_SECONDS = 16 * 1024, 5.0

PROBLEMS: Mapping[type[ShopbusError], tuple[int, str]] = {
    BadParameter: (400, "bad-parameter"),
    NoSuchJob: (404, "no-such-job"),
    JobBusy: (409, "job-busy"),
    PayloadGone: (410, "payload-gone"),
}


def routes(books: Books, guard: Callable[[Handler], Handler]) -> list[web.RouteDef]:
    """What is answered to a holder of OPS_TOKEN, whom `guard` lets in."""
    endpoints = Endpoints(books)
    return [
        web.get("/api/stats", guard(endpoints.show_stats)),
        web.get("/api/jobs", guard(_spoken(endpoints.list_jobs))),
        web.post("/api/jobs/retry", guard(_spoken(endpoints.retry_jobs))),
        web.get("/api/jobs/{id}", guard(_spoken(endpoints.show_job))),
        web.post("/api/jobs/{id}/retry", guard(_spoken(endpoints.retry_job))),
    ]


class Endpoints:
    """The handlers, with what they need."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._stats = Recent(lambda: service.stats(books), books.clock, seconds=STATS_SECONDS)

    async def show_stats(self, _: web.Request) -> web.Response:
        """How many messages stand where; up to a second old."""
        return json_response(await self._stats.get())

    async def show_job(self, request: web.Request) -> web.Response:
        """One message, with every attempt."""
        books = self._of(request)
        return json_response(await service.show(books, read_id(request.match_info["id"])))

    async def list_jobs(self, request: web.Request) -> web.Response:
        """`?status=&type=&shop=&since=&until=&limit=&cursor=&consumer=`. The list ends where `next` is null."""
        refuse_unknown(request.query, (*FILTER_NAMES, "limit", "cursor", "consumer"))
        wanted, before = read_filter(request.query), read_cursor(request.query)
        limit = read_limit(request.query, PER_PAGE, MOST_PER_PAGE)
        page = await service.page(self._of(request), wanted, before, limit)
        following = None if page.next is None else write_cursor(page.next)
        return json_response({"jobs": [short_form(row) for row in page.rows], "next": following})

    async def retry_job(self, request: web.Request) -> web.Response:
        """Puts one message back to work."""
        message_id = read_id(request.match_info["id"])
        await service.retry(self._of(request), message_id)
        return json_response({"id": message_id, "status": "pending"}, 202)

    async def retry_jobs(self, request: web.Request) -> web.Response:
        """Puts messages back to work by the filter in the body (status failed, if it names none).

        With `?dry_run=1` it only counts them. Where there is `more`, the same filter with `next` as its cursor goes on.
        """
        refuse_unknown(request.query, ("dry_run", "consumer"))
        books = self._of(request)
        given = await _filter(request)
        refuse_unknown(given, (*FILTER_NAMES, "limit", "cursor"))
        wanted, before = read_filter(given), read_cursor(given)
        most = read_limit(given, MOST_REPLAYED, MOST_REPLAYED)
        if read_flag(request.query, "dry_run"):
            return json_response(_told("count", await service.count(books, wanted, before, most=most)))
        progress = await service.retry_many(books, wanted, before, most=most)
        return json_response(_told("replayed", progress), 202)

    def _of(self, request: web.Request) -> Books:
        """Each service that works on messages has its own places for them; `?consumer=` says whose are meant."""
        name = request.query.get("consumer", self._books.consumer)
        if name not in CONSUMERS:
            raise BadParameter("consumer", f"one of {', '.join(CONSUMERS)}")
        return replace(self._books, consumer=name)


def _told(name: str, progress: Progress) -> Json:
    more = progress.next is not None
    return {
        name: progress.messages,
        "more": more,
        "next": write_cursor(progress.next) if progress.next else None,
    }


async def _filter(request: web.Request) -> dict[str, object]:
    body = await read_body(request, limit=_FILTER_BYTES, seconds=_FILTER_SECONDS)
    try:
        given = orjson.loads(body)  # an empty body is refused too: all is said with {}
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise BadParameter("the body", "a JSON object with a filter")
    return given


def _spoken(handler: Handler) -> Handler:
    """Says what the service refused as a problem."""

    async def spoken(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except tuple(PROBLEMS) as error:
            _refuse(error)

    return spoken


def _refuse(error: ShopbusError) -> NoReturn:
    status, kind = PROBLEMS[type(error)]
    raise Problem(status, str(error), kind=kind) from error
