"""An endpoint for webhooks that does what a test tells it, and clocks that do not wait as they should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from libs.common.clock import SystemClock

Behaviour = Callable[["Receiver", web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """An endpoint that keeps what it got and answers as it is told."""

    def __init__(self, behave: Behaviour) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.in_flight = 0
        self.most_in_flight = 0
        self.url = ""
        self._behave = behave

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.connections.add(request.transport and request.transport.get_extra_info("peername"))
            self.requests.append(
                ({name.lower(): value for name, value in request.headers.items()}, await request.read())
            )
            return await self._behave(self, request)
        finally:
            self.in_flight -= 1

    def ids(self) -> list[str]:
        return [headers["x-shopify-webhook-id"] for headers, _ in self.requests]

    def tries_of(self, request: web.Request) -> int:
        return self.ids().count(request.headers["X-Shopify-Webhook-Id"])


@asynccontextmanager
async def receiver(behave: Behaviour) -> AsyncIterator[Receiver]:
    taker = Receiver(behave)
    app = web.Application()
    app.router.add_post("/webhooks/shopify", taker.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        taker.url = f"http://127.0.0.1:{site.port}/webhooks/shopify"
        yield taker
    finally:
        await runner.cleanup()


class ImpatientClock(SystemClock):
    """Does not sleep at all, and remembers how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class HeldClock(SystemClock):
    """Sleeps until it is released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.release.wait()


class LateClock(SystemClock):
    """A clock of its own whose sleeps last longer than they should."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds * 1.5
        await asyncio.sleep(0)
