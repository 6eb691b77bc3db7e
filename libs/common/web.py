"""HTTP as every service speaks it: problems as RFC 9457, one log line a request, bodies within limits."""

import asyncio
import hmac
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException
from pydantic import SecretStr

from libs.common import logs
from libs.common.errors import ConfigurationError, DatabaseAway, ShopbusError
from libs.common.metrics import HTTP_REQUESTS, HTTP_SECONDS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER_SECONDS = "2"
REQUEST_ID = "X-Request-Id"
UNMATCHED = "unmatched"
CLIENT_GONE = 499  # nothing was answered: the handler was cancelled
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FOREIGN_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NOTED = web.RequestKey("shopbus.noted", dict[str, object])


class Problem(ShopbusError):
    """A request that is answered with an error. `kind` is a slug for programs, `detail` a sentence for people."""

    def __init__(
        self, status: int, detail: str, *, kind: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = dict(headers or {})


class BodyTooLarge(Problem):
    """The request's body is longer than this address takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is longer than {limit} bytes", kind="body-too-large")


class BodyTooSlow(Problem):
    """The request's body did not arrive in time."""

    def __init__(self) -> None:
        super().__init__(
            408, "the body did not arrive in time", kind="body-too-slow", headers={"Connection": "close"}
        )


class BodyIncomplete(Problem):
    """The request's body ended early or is not framed as HTTP demands."""

    def __init__(self) -> None:
        super().__init__(
            400, "the body is incomplete", kind="body-incomplete", headers={"Connection": "close"}
        )


def json_response(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None, media: str = "application/json"
) -> web.Response:
    """An answer in JSON; UUIDs and times are written as text."""
    text = orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z)
    return web.Response(body=text, status=status, headers=headers, content_type=media)


def problem_response(problem: Problem) -> web.Response:
    """The problem in the shape of RFC 9457."""
    members = {
        "type": f"urn:shopbus:problem:{problem.kind}" if problem.kind else "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return json_response(members, problem.status, problem.headers, "application/problem+json")


def note(request: web.Request, **fields: object) -> None:
    """Adds fields to the one line that is logged about this request."""
    noted = request.get(_NOTED)
    if noted is None:
        request[_NOTED] = fields
    else:
        noted.update(fields)


async def read_body(request: web.Request, *, limit: int, seconds: float) -> bytes:
    """The body's bytes as received; raises `BodyTooLarge`, `BodyTooSlow` or `BodyIncomplete`.

    The length that the client declares is believed only where it is too large; what arrives is counted.
    """
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    content = request.content
    try:
        if content.is_eof():  # it came together with the headers, as most do
            body = content.read_nowait()
        else:
            async with asyncio.timeout(seconds):
                body = await _gather(request, limit)
    except TimeoutError:
        raise BodyTooSlow from None
    except (web.PayloadAccessError, HttpProcessingError, ConnectionError, web.RequestPayloadError) as error:
        raise BodyIncomplete from error
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


async def _gather(request: web.Request, limit: int) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(limit)
    return bytes(body)


def require_ops(token: SecretStr) -> Callable[[Handler], Handler]:
    """Guards a handler: only a request with `Authorization: Bearer <OPS_TOKEN>` reaches it."""
    expected = token.get_secret_value().encode()
    if not expected.strip():
        raise ConfigurationError("OPS_TOKEN is empty")

    def guard(handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not hmac.compare_digest(_bearer(request), expected):
                raise Problem(
                    401,
                    "this needs the header Authorization: Bearer <OPS_TOKEN>",
                    kind="ops-token",
                    headers={"WWW-Authenticate": 'Bearer realm="shopbus ops"'},
                )
            return await handler(request)

        return guarded

    return guard


def _bearer(request: web.Request) -> bytes:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip().encode("utf-8", "surrogatepass") if scheme.lower() == "bearer" else b""


class Observer:
    """Stands around every handler: turns errors into problems, and counts, times and logs each request once.

    It wraps handlers instead of being an aiohttp middleware, which would cost each request three more calls.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._log = logs.WideLogger("http")
        self._ids = itertools.count(1)
        self._id_prefix = os.urandom(6).hex()

    def around(self, handler: Handler, *, service: str, route: str) -> Handler:
        """The handler as aiohttp gets it. `route` is the pattern it answers, and a label: never a shop or an id."""
        meters: dict[tuple[str, int], _Meter] = {}

        def record(request: web.Request, status: int, seconds: float, fields: dict[str, Any]) -> None:
            method = request.method if request.method in _METHODS else "OTHER"
            meter = meters.get((method, status))
            if meter is None:
                meter = meters[method, status] = _Meter(service, route, method, status)
            meter.count(seconds)
            self._log.write(meter.level, {**meter.fields, **fields, **request.get(_NOTED, {})})

        async def observed(request: web.Request) -> web.StreamResponse:
            started = perf_counter()
            fields: dict[str, Any] = {"request_id": self._request_id(request)}
            status = CLIENT_GONE
            try:
                response = await self._answer(handler, request, fields)
                status = response.status
            finally:
                seconds = perf_counter() - started
                fields["duration_ms"] = round(seconds * 1000, 3)
                record(request, status, seconds, fields)
            return response

        return observed

    async def _answer(
        self, handler: Handler, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the client gets an answer
            response = answer_to(error)
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(
                error, (Problem, DatabaseAway)
            ):
                fields["exc_info"] = error
        response.headers[REQUEST_ID] = fields["request_id"]
        if self.stopping:
            response.force_close()
        return response

    def _request_id(self, request: web.Request) -> str:
        given = request.headers.get(REQUEST_ID)
        if given is not None and _FOREIGN_ID.fullmatch(given):
            return given
        return f"{self._id_prefix}-{next(self._ids)}"


class _Meter:
    """What is counted and logged the same way for every request of one route, method and status."""

    def __init__(self, service: str, route: str, method: str, status: int) -> None:
        self.level: logs.Level = "info"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.level = "error"
        elif route in _QUIET_ROUTES:
            self.level = "debug"
        self.fields = {
            "event": f"{method} {route} answered {status}",
            "service": service,
            "route": route,
            "method": method,
            "status": status,
        }
        self._requests = HTTP_REQUESTS.labels(service, route, method, str(status))
        self._seconds = HTTP_SECONDS.labels(service, route, method, str(status))

    def count(self, seconds: float) -> None:
        self._requests.inc()
        self._seconds.observe(seconds)


async def unmatched(request: web.Request) -> web.StreamResponse:
    """Answers what no route matches: 405 where another method would have been right, else 404."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is not request.match_info.route.resource:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise Problem(
            405,
            "this address has no such method",
            kind="method",
            headers={"Allow": ", ".join(sorted(allowed))},
        )
    raise Problem(404, "there is nothing at this address", kind="no-such-address")


def answer_to(error: Exception) -> web.StreamResponse:
    """The response to an error; what is not foreseen becomes a 500 that tells nothing of the inside."""
    if isinstance(error, Problem):
        return problem_response(error)
    if isinstance(error, HTTPException):
        return _from_aiohttp(error)
    if isinstance(error, DatabaseAway):
        return problem_response(database_away())
    return problem_response(Problem(500, "something went wrong here; the log has the story", kind="fault"))


def database_away() -> Problem:
    """The answer while Postgres cannot take a request's work: the caller is asked to come again."""
    return Problem(
        503,
        "the database is away; try again",
        kind="database-away",
        headers={"Retry-After": RETRY_AFTER_SECONDS},
    )


def _from_aiohttp(error: HTTPException) -> web.Response:
    if error.status < HTTPStatus.BAD_REQUEST:  # a redirect, which aiohttp wants raised and not returned
        response = web.Response(status=error.status, headers=error.headers)
        response.cookies.update(error.cookies)
        return response
    headers = {
        name: value for name, value in error.headers.items() if not name.lower().startswith("content-")
    }
    return problem_response(Problem(error.status, error.reason.lower(), headers=headers))
