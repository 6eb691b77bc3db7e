"""The worker's job API, as the commands see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from uuid import UUID

import aiohttp
import orjson
import typer
from yarl import URL

from services.cli.config import CliSettings
from services.cli.errors import BadInput, Refused, ServerAway
from services.cli.screen import clean

Json = dict[str, Any]
T = TypeVar("T")

_PATIENCE = aiohttp.ClientTimeout(total=30, sock_connect=3)
_PAGE = 200  # jobs asked for at once

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Where shopbus listens; default http://127.0.0.1:$PORT.", metavar="URL"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A message id, as the webhook's answer carries it.")
]


class Api:
    """One server's job API; every failure becomes a one-line error."""

    def __init__(self, http: aiohttp.ClientSession, base: URL) -> None:
        self._http = http
        self._base = base

    async def job(self, identifier: str) -> Json:
        return await self._call("GET", f"/api/jobs/{message_id(identifier)}")

    async def retry(self, identifier: str) -> Json:
        return await self._call("POST", f"/api/jobs/{message_id(identifier)}/retry")

    async def retry_many(self, filters: Mapping[str, str], *, dry_run: bool) -> int:
        """Puts back to work what matches, or only counts it; request after request, until the server is through."""
        total: int = 0
        cursor = None
        while True:
            answer = await self._call(
                "POST", "/api/jobs/retry", {"dry_run": "1"} if dry_run else {}, {**filters, **_at(cursor)}
            )
            total += answer["count" if dry_run else "replayed"]
            cursor = answer.get("next")
            if not cursor:
                return total

    async def jobs(self, filters: Mapping[str, str], limit: int | None = None) -> AsyncIterator[Json]:
        """Jobs that match, newest first, page after page, up to `limit`."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = await self._call("GET", "/api/jobs", {**filters, "limit": str(size), **_at(cursor)})
            for job in page["jobs"][:size]:
                yield job
            left = None if left is None else left - len(page["jobs"])
            cursor = page.get("next")
            if not cursor:
                return

    async def privacy_cases(self, query: Mapping[str, str]) -> list[Json]:
        """Privacy cases that match, newest first."""
        cases: list[Json] = (await self._call("GET", "/api/privacy/cases", query))["cases"]
        return cases

    async def privacy_case(self, identifier: str) -> Json:
        return await self._call("GET", f"/api/privacy/cases/{message_id(identifier)}")

    async def privacy_export(self, identifier: str) -> bytes:
        """The zip file of a data request."""
        path = f"/api/privacy/cases/{message_id(identifier)}/export"
        status, content = await self._ask("GET", path)
        if status != HTTPStatus.OK:
            answer_of(status, content)
        return content

    async def start_backfill(self, shop: str, resource: str, since: str) -> Json:
        """Begins to fetch what was updated since a time."""
        body = {"shop": shop, "resource": resource, "since": since}
        return await self._call("POST", "/api/backfills", body=body)

    async def backfills(self, query: Mapping[str, str]) -> list[Json]:
        """Backfills that match, newest first."""
        found: list[Json] = (await self._call("GET", "/api/backfills", query))["backfills"]
        return found

    async def backfill(self, identifier: str) -> Json:
        return await self._call("GET", f"/api/backfills/{message_id(identifier)}")

    async def cancel_backfill(self, identifier: str) -> Json:
        return await self._call("POST", f"/api/backfills/{message_id(identifier)}/cancel")

    async def subscriptions(self, shop: str) -> Json:
        """What is known of a shop's webhook subscriptions."""
        return await self._call("GET", "/webhooks/subscriptions", {"shop": shop})

    async def subscribed_shops(self) -> AsyncIterator[Json]:
        """All shops, page after page, with how many of their topics are not as wanted."""
        cursor = None
        while True:
            page = await self._call("GET", "/webhooks/subscriptions", _at(cursor))
            for shop in page["shops"]:
                yield shop
            cursor = page.get("next")
            if not cursor:
                return

    async def check_subscriptions(self, shop: str) -> Json:
        """Repairs them now, and shows what came of it."""
        return await self._call("POST", "/webhooks/subscriptions/check", {"shop": shop})

    async def reconciliation(self, query: Mapping[str, str]) -> Json:
        """What the ledger says of a shop and a time."""
        return await self._call("GET", "/webhooks/reconciliation", query)

    async def reconciliation_state(self, shop: str) -> Json:
        """How it stands with the shop's comparisons."""
        return await self._call("GET", "/webhooks/reconciliation/state", {"shop": shop})

    async def reconcile(self, shop: str) -> Json:
        """Has a shop compared with Shopify now."""
        return await self._call("POST", "/webhooks/reconciliation", {"shop": shop})

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> Json:
        return answer_of(*await self._ask(method, path, params, body))

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        url = self._base.join(URL(path))
        try:
            async with self._http.request(method, url, params=params, json=body) as response:
                return response.status, await response.read()
        except TimeoutError:
            raise ServerAway(f"{self._base} does not answer in time") from None
        except (aiohttp.ClientError, OSError):
            raise ServerAway(away(self._base)) from None


def _at(cursor: str | None) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}


def answer_of(status: int, content: bytes) -> Json:
    """What an answer says; raises `BadInput` or `Refused` where it is a problem."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise Refused(f"that is not shopbus: it answered {status} without JSON")
    if status == HTTPStatus.BAD_REQUEST:
        raise BadInput(_refusal(status, body))
    if status >= HTTPStatus.BAD_REQUEST:
        raise Refused(_refusal(status, body))
    return body


def _refusal(status: int, problem: Json) -> str:
    detail = clean(problem.get("detail") or problem.get("title") or f"refused with status {status}")
    if status in {401, 403}:
        return f"{detail} (set OPS_TOKEN to the server's own)"
    return detail


def away(base: URL) -> str:
    return f"nothing listens at {base.origin()}: start it with `make run`, or name the server with --url"


def message_id(text: str) -> str:
    """A message id in its usual spelling; raises `BadInput` for what cannot be one."""
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise BadInput(
            f"{text!r} is not a message id: it looks like 019aa3c0-7e55-7000-8000-0123456789ab"
        ) from None


def parse_url(text: str) -> URL:
    """An http(s) URL with a host; raises `BadInput` otherwise."""
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(f"{text!r} is not a URL: it looks like http://127.0.0.1:8080")
    return url


@asynccontextmanager
async def open_api(url: str | None) -> AsyncIterator[Api]:
    settings = CliSettings.read()
    headers = {"Authorization": f"Bearer {settings.require('OPS_TOKEN')}", "Accept": "application/json"}
    async with aiohttp.ClientSession(timeout=_PATIENCE, headers=headers) as http:
        yield Api(http, parse_url(url or settings.base_url))


def with_api(url: str | None, work: Callable[[Api], Awaitable[T]]) -> T:
    """Runs one command's work against the server."""

    async def run() -> T:
        async with open_api(url) as api:
            return await work(api)

    return asyncio.run(run())
