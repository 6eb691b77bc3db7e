"""HTTP of the sandbox's Admin API."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web
from yarl import URL

from libs.common.shopify.scopes import Scopes
from libs.common.web import Problem, json_response, read_body
from services.sandbox.admin_api.answers import Asked, Reply, answer
from services.sandbox.admin_api.buckets import Buckets
from services.sandbox.admin_api.bulk import Workshop
from services.sandbox.admin_api.bulk_fields import BulkFields
from services.sandbox.admin_api.desk import Desk
from services.sandbox.admin_api.pixels import Pixels
from services.sandbox.admin_api.subscriptions import Subscriptions
from services.sandbox.grants import Grants
from services.sandbox.home import shop_of
from services.sandbox.scene import Json
from services.sandbox.stage import Stage
from services.sandbox.stock import Stock
from services.sandbox.weather import Mishap, Weather

_BODY_BYTES, _BODY_SECONDS = 1024 * 1024, 5.0
_UNAUTHORIZED = "[API] Invalid API key or access token (unrecognized login or wrong password)"
_LATER = 429
_FULL = "Internal error. Looks like something went wrong on our end."


@dataclass(frozen=True, slots=True)
class AdminApi:
    """The endpoint of every shop, with what it needs."""

    stage: Stage
    grants: Grants
    stock: Stock
    buckets: Buckets
    workshop: Workshop
    version: str
    weather: Weather = field(default_factory=Weather)
    weathers: Mapping[str, Weather] = field(default_factory=dict)  # of single shops

    def routes(self) -> list[web.RouteDef]:
        store = URL(self.stage.url).path + "/{shop}/admin"
        return [
            web.post(store + "/api/{version}/graphql.json", self.graphql),
            web.get(f"{store}/bucket.json", self.bucket),
            web.get(store + "/bulk/{file}.jsonl", self.bulk_file),
        ]

    async def graphql(self, request: web.Request) -> web.Response:
        """The Admin API, in any weather."""
        shop = shop_of(request)
        mishap = (weather := self.weathers.get(shop, self.weather)).next()
        body = await read_body(request, limit=_BODY_BYTES, seconds=_BODY_SECONDS)
        if (refused := _refused(mishap)) is not None:
            return self._headed(refused)
        token = request.headers.get("X-Shopify-Access-Token", "")
        allowed = self.grants.allowed(shop, token)
        if allowed is None:
            return self._headed(json_response({"errors": _UNAUTHORIZED}, 401))
        await self.stock.open_in_pieces(shop)
        desk = Desk(self.stage, self.stock, shop, Scopes.parse(allowed).expanded)
        reply = self._answer(desk, _asked(body))
        if mishap is Mishap.SLOW:
            await asyncio.sleep(weather.delay)
        facts = reply.told(self.buckets.clock.monotonic())
        if desk.warnings:
            facts.setdefault("extensions", {})["search"] = desk.warnings
        if mishap is Mishap.CUT_OFF and request.transport is not None:
            request.transport.abort()
        if mishap is Mishap.UNTOLD:
            return self._headed(web.Response(text="error code: 520", status=520))
        return self._headed(json_response(_spoilt(mishap, facts)))

    async def bucket(self, request: web.Request) -> web.Response:
        """How the app kept to a shop's rate limit: for tests of a client."""
        return json_response(self.buckets.of(shop_of(request)).report())

    async def bulk_file(self, request: web.Request) -> web.StreamResponse:
        """The result of a bulk operation: whoever has the address may read it, as at Shopify."""
        files = {one.file: one for one in self.grants.ledger.look(shop_of(request)).bulk.values()}
        found = files.get(request.match_info["file"])
        if found is None or found.completed_at is None:
            raise Problem(404, "there is no such file", kind="file")
        return web.FileResponse(self.workshop.path(found), headers={"Content-Type": "application/jsonl"})

    def _fields(self, desk: Desk) -> dict[str, Any]:
        """What the root fields of queries and mutations resolve to."""
        ledger, clock, shop, scopes = self.grants.ledger, self.stock.clock, desk.shop, desk.scopes
        files = f"{self.stage.admin(shop)}/bulk"
        return {
            **desk.fields(),
            **Subscriptions(ledger, clock, shop, scopes, self.stage.app_url, self.version).fields(),
            **Pixels(ledger, clock, shop, scopes).fields(),
            **BulkFields(self.workshop, shop, scopes, files).fields(),
        }

    def _answer(self, desk: Desk, asked: Asked) -> Reply:
        now = self.buckets.clock.monotonic()
        return answer(asked, self.buckets.of(desk.shop), lambda: self._fields(desk), now)

    def _headed(self, response: web.Response) -> web.Response:
        response.headers["X-Shopify-API-Version"] = self.version
        response.headers.setdefault("X-Request-Id", str(uuid4()))
        return response


_REFUSALS: Mapping[Mishap, tuple[int, str]] = {
    Mishap.TOO_MANY: (429, "Too many requests"),
    Mishap.SUSPICIOUS: (430, "Shopify Security Rejection"),
    Mishap.FROZEN: (402, "Unavailable Shop"),
    Mishap.DISOWNED: (401, _UNAUTHORIZED),
}


def _refused(mishap: Mishap) -> web.Response | None:
    """The answers of those who never looked at the request."""
    if mishap in _REFUSALS:
        status, words = _REFUSALS[mishap]
        return json_response({"errors": words}, status, {"Retry-After": "1.0"} if status == _LATER else None)
    match mishap:
        case Mishap.BROKEN:
            return web.Response(text="Service Unavailable", status=503)
        case Mishap.UNHEARD:
            return web.Response(text="error code: 520", status=520)
    return None


def _spoilt(mishap: Mishap, facts: Json) -> Json:
    if mishap is Mishap.LYING and "cost" in facts.get("extensions", {}):
        status = facts["extensions"]["cost"]["throttleStatus"]
        status["currentlyAvailable"] = status["maximumAvailable"]
    if mishap is Mishap.PARTIAL and facts.get("data"):
        lost = next(iter(facts["data"]))
        facts["data"][lost] = None
        error = {"message": _FULL, "path": [lost], "extensions": {"code": "INTERNAL_SERVER_ERROR"}}
        facts["errors"] = [*facts.get("errors", []), error]
    return facts


def _asked(body: bytes) -> Asked:
    try:
        facts: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(400, "the body is no JSON", kind="body") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("query"), str):
        raise Problem(400, "the body has no query", kind="body")
    variables = facts.get("variables") or {}
    return Asked(facts["query"], facts.get("operationName"), variables if isinstance(variables, dict) else {})
