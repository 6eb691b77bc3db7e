"""Plays the Admin API for tests: its buckets and costs, its refusals, its bad days; and auth, which gives the tokens.

A query's cost stands in its variables: `{"cost": 50, "actual": 10}`. What a bucket cannot pay is THROTTLED, and noted.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from tests.servers.ports import free_port

Mishap = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse | None]]
VERSION = "2026-10"


@dataclass
class Bucket:
    """One shop's points, as Shopify keeps them."""

    maximum: float = 2_000.0
    rate: float = 100.0
    available: float | None = None  # None: full
    at: float = field(default_factory=time.monotonic)
    lowest: float = float("inf")  # that it was asked to go to: below zero is overdrawn
    used: float = 0.0  # points of what ran

    def now(self) -> float:
        moment = time.monotonic()
        left = self.maximum if self.available is None else self.available
        self.available = min(self.maximum, left + self.rate * (moment - self.at))
        self.at = moment
        return self.available

    def reserve(self, cost: float) -> bool:
        left = self.now() - cost
        self.lowest = min(self.lowest, left)
        if left < 0:
            return False
        self.available = left
        return True

    def refund(self, points: float) -> None:
        self.available = min(self.maximum, self.now() + points)

    def status(self) -> dict[str, float]:
        return {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": int(self.now()),
            "restoreRate": self.rate,
        }


@dataclass
class AdminStandIn:
    """What Shopify and auth know, and what they are to do wrong."""

    port: int
    buckets: dict[str, Bucket] = field(default_factory=lambda: defaultdict(Bucket))
    answer_seconds: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)  # by shop
    throttled: Counter[str] = field(default_factory=Counter)
    seen: list[dict[str, Any]] = field(default_factory=list)  # every body that arrived
    headers: list[dict[str, str]] = field(default_factory=list)
    more_headers: dict[str, str] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)  # how often auth was asked for another token
    before: Mishap | None = None  # instead of doing it
    after: Mishap | None = None  # instead of saying that it was done
    extra: dict[str, Any] = field(default_factory=dict)  # members of every answer
    token_answer: Callable[[str], web.Response | None] = lambda _: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stores"

    @property
    def auth_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def token(self, request: web.Request) -> web.Response:
        shop = request.match_info["shop"]
        if (answer := self.token_answer(shop)) is not None:
            return answer
        if "refused" in request.query:
            self.tokens[shop] += 1
        version = 1 + self.tokens[shop]
        expires = datetime.now(UTC) + timedelta(hours=1)
        return web.json_response({
            "access_token": f"shpat_{shop}_{version}", "scopes": "read_orders", "version": version,
            "expires_at": expires.isoformat(), "generation": 1,
        })  # fmt: skip

    async def answer(self, request: web.Request) -> web.StreamResponse:
        shop, body = request.match_info["shop"], orjson.loads(await request.read())
        self.asked[shop] += 1
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        if self.before and (mishap := await self.before(request, body)) is not None:
            return mishap
        answer = await self._do(shop, body["variables"])
        if self.after and (mishap := await self.after(request, body)) is not None:
            return mishap
        return answer

    async def _do(self, shop: str, variables: dict[str, Any]) -> web.Response:
        bucket, cost = self.buckets[shop], float(variables.get("cost", 10))
        actual = float(variables.get("actual", cost))
        if not bucket.reserve(cost):
            self.throttled[shop] += 1
            return self._say(bucket, cost, None, {"errors": [throttled_error()]})
        await asyncio.sleep(self.answer_seconds)
        bucket.refund(cost - actual)
        bucket.used += actual
        return self._say(bucket, cost, actual, {"data": {"shop": {"name": shop}}, **self.extra})

    def _say(
        self, bucket: Bucket, cost: float, actual: float | None, members: dict[str, Any]
    ) -> web.Response:
        told = {"requestedQueryCost": cost, "actualQueryCost": actual, "throttleStatus": bucket.status()}
        headers = {"X-Request-Id": "r-1", "X-Shopify-API-Version": VERSION, **self.more_headers}
        return web.json_response({**members, "extensions": {"cost": told}}, headers=headers)


def throttled_error() -> dict[str, Any]:
    return {"message": "Throttled", "extensions": {"code": "THROTTLED"}}


@asynccontextmanager
async def admin_standing_in() -> AsyncIterator[AdminStandIn]:
    """A stand-in that answers until the block ends."""
    shopify = AdminStandIn(free_port())
    app = web.Application()
    app.router.add_post(f"/stores/{{shop}}/admin/api/{VERSION}/graphql.json", shopify.answer)
    app.router.add_get("/internal/auth/shops/{shop}/token", shopify.token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", shopify.port).start()
    try:
        yield shopify
    finally:
        await runner.cleanup()
