"""Serves as a process does, on a free port, and gives a client for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import ClientSession, CookieJar

from libs.common.service import Service, serve
from libs.common.settings import CommonSettings
from tests.waiting import poll


@asynccontextmanager
async def serving(
    services: Sequence[Service], settings: CommonSettings | None = None, *, port: int = 0
) -> AsyncIterator[ClientSession]:
    """A client whose addresses are relative to the running services; they listen on `port`, else on any."""
    ports: list[int] = []
    settings = (settings or CommonSettings()).model_copy(update={"port": port})
    server = asyncio.create_task(serve(services, settings, started=ports.append))
    try:
        await poll(lambda: ports or server.done())
        if not ports:
            server.result()
        jar = CookieJar(unsafe=True)  # keeps cookies of a numeric address, as browsers do
        async with ClientSession(f"http://127.0.0.1:{ports[0]}", cookie_jar=jar) as client:
            yield client
    finally:
        server.cancel()
        with suppress(asyncio.CancelledError):
            await server
