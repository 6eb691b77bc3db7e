"""The pixel's door: whoever has a shop's public key may send its events. Nobody reads the answer but developers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import hdrs, web

from libs.common.errors import DatabaseAway
from libs.common.senders import sender
from libs.common.web import (
    BodyIncomplete,
    BodyTooLarge,
    BodyTooSlow,
    Handler,
    Problem,
    answer_to,
    database_away,
    note,
    read_body,
)
from services.ingest import bodies, metrics
from services.ingest.bodies import BombRefused, NotGzip
from services.ingest.config import Settings
from services.ingest.service import Ingest, NoKey, TooMuch, UnknownKey

ADDRESS = "/ingest/v1/events"
KEY_HEADER = "X-Shopbus-Key"
DROPPED_HEADER = "X-Shopbus-Dropped"  # how many of the events were not kept, where there were some

# Pixels run in workers and frames whose origin is null, none, or the storefront's: any may send, and none gets
# credentials (SHOPIFY 5.6). A browser asks once a day whether it may.
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
_PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": f"Content-Type, Content-Encoding, {KEY_HEADER}",
    "Access-Control-Max-Age": "86400",
}
_ENCODINGS = {"Accept-Encoding": "gzip"}
_PLAIN = frozenset({"", "identity"})
_CAUSES: Mapping[type[Problem], str] = {
    BodyTooLarge: "too_large",
    BodyTooSlow: "too_slow",
    BodyIncomplete: "incomplete",
}


class Refused(Problem):
    """A request that is not taken in. `cause` is counted."""

    def __init__(
        self, cause: str, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, kind=cause.replace("_", "-"), headers=headers)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers, with what they need."""

    settings: Settings
    ingest: Ingest

    def routes(self) -> list[web.RouteDef]:
        """What browsers reach."""
        return [
            web.post(ADDRESS, _open(self.take_events)),
            web.options(ADDRESS, self.preflight),
        ]

    async def preflight(self, _: web.Request) -> web.Response:
        """Answers what a browser asks before it sends anything but text."""
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)

    async def take_events(self, request: web.Request) -> web.Response:
        """`?key=` or the header X-Shopbus-Key, or the key in the body: 204 once the events are committed."""
        address = self._sender(request)
        if (seconds := self.ingest.wait_of(address)) is not None:
            metrics.LIMITED.labels("address").inc()
            raise _too_much(TooMuch("address", seconds))
        body = await self._body(request)
        try:
            outcome = await self.ingest.take(body, _key(request), address)
        except NoKey as error:
            raise Refused("no_key", 400, str(error)) from error
        except UnknownKey as error:
            raise Refused("unknown_key", 403, str(error)) from error
        except TooMuch as error:
            raise _too_much(error) from error
        except DatabaseAway as error:
            metrics.REFUSED.labels("database_away").inc()
            raise database_away() from error
        note(request, shop=outcome.shop, accepted=outcome.accepted, dropped=outcome.dropped)
        headers = {DROPPED_HEADER: str(outcome.dropped)} if outcome.dropped else None
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    def _sender(self, request: web.Request) -> str:
        forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
        return sender(request.remote, forwarded, self.settings.ingest_proxies)

    async def _body(self, request: web.Request) -> bytes:
        limit, seconds = self.settings.ingest_body_limit_bytes, self.settings.ingest_body_seconds
        encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
        if encoding not in _PLAIN and encoding != "gzip":
            raise Refused("encoding", 415, "the body may be plain or gzipped", headers=_ENCODINGS)
        body = await read_body(request, limit=limit, seconds=seconds)
        metrics.BODY_BYTES.observe(len(body))
        return body if encoding in _PLAIN else self._inflated(body)

    def _inflated(self, body: bytes) -> bytes:
        limit = self.settings.ingest_body_limit_bytes
        try:
            text = bodies.inflate(body, limit=limit, ratio=self.settings.ingest_gzip_ratio)
        except BombRefused as error:
            raise Refused("too_large", 413, str(error)) from error
        except NotGzip as error:
            raise Refused("not_gzip", 400, str(error)) from error
        metrics.GZIP_RATIO.observe(len(text) / max(1, len(body)))
        return text


def _open(handler: Handler) -> Handler:
    """The handler for pages of any origin, errors included: a developer reads those in the browser's console."""

    async def opened(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Problem as problem:
            cause = problem.cause if isinstance(problem, Refused) else _CAUSES.get(type(problem))
            if cause:
                metrics.REFUSED.labels(cause).inc()
                note(request, cause=cause)
            response = answer_to(problem)
        response.headers.update(CORS)
        return response

    return opened


def _key(request: web.Request) -> str | None:
    return request.query.get("key") or request.headers.get(KEY_HEADER)


def _too_much(error: TooMuch) -> Refused:
    return Refused("limited", 429, str(error), headers={"Retry-After": str(max(1, math.ceil(error.seconds)))})
