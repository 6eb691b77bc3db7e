"""Takes pixel events as the app's ingest promises to, and misbehaves as a test tells it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

PATH = "/ingest/v1/events"
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}


@dataclass(slots=True)
class Collector:
    """What arrived."""

    url: str = ""
    preflights: int = 0
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)  # that were stored
    refusals: list[int] = field(default_factory=list)  # statuses for the next requests, which store nothing
    untold: int = 0  # so many of the next requests are stored, and their answers lost
    open: asyncio.Event = field(default_factory=asyncio.Event)  # answers wait until it is set

    @property
    def arrivals(self) -> list[dict[str, Any]]:
        """Every event of every request, also those that came before."""
        return [event for _, body in self.requests for event in orjson.loads(body)["events"]]

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        """As the app keeps them: by their ids, each once."""
        kept: dict[str, dict[str, Any]] = {}
        for event in self.arrivals:
            kept.setdefault(event["id"], event)
        return kept

    async def take(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return web.Response(status=self.refusals.pop(0), headers={**CORS, "Retry-After": "1"})
        self.requests.append((dict(request.headers), await request.read()))
        if self.untold > 0 and request.transport is not None:
            self.untold -= 1
            request.transport.abort()
        await self.open.wait()
        return web.Response(status=204, headers=CORS)

    async def preflight(self, _: web.Request) -> web.Response:
        self.preflights += 1
        return web.Response(status=204, headers={**CORS, "Access-Control-Allow-Headers": "Content-Type"})


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a port of its own, which is another origin than the store's."""
    collector = Collector()
    collector.open.set()
    app = web.Application()
    app.router.add_post(PATH, collector.take)
    app.router.add_options(PATH, collector.preflight)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{site.port}"
        yield collector
    finally:
        await runner.cleanup()
