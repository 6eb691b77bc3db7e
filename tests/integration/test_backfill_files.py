"""Files of bulk operations, read over HTTP from any byte on, and from nowhere but where they may be."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from services.worker.backfill_files import FileAway, FileGone, Files, WrongHost
from tests.servers.ports import free_port

CONTENT = bytes(range(256)) * 1_000
Door = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def ranged(request: web.Request) -> web.StreamResponse:
    """As storage does it."""
    start = request.http_range.start or 0
    if start >= len(CONTENT):
        return web.Response(status=416)
    headers = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
    return web.Response(body=CONTENT[start:], status=206 if start else 200, headers=headers)


async def whole(_: web.Request) -> web.StreamResponse:
    """As a server does it that knows no ranges."""
    return web.Response(body=CONTENT)


async def elsewhere(request: web.Request) -> web.StreamResponse:
    """Answers something else than it was asked for."""
    return web.Response(body=b"x", status=206, headers={"Content-Range": "bytes 7-7/8"})


async def broken_off(request: web.Request) -> web.StreamResponse:
    """Hangs up in the middle."""
    response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
    await response.prepare(request)
    await response.write(CONTENT[:1_000])
    assert request.transport is not None
    request.transport.abort()
    return response


@asynccontextmanager
async def served(door: Door) -> AsyncIterator[tuple[Files, str]]:
    """Files of one server, and the address of one."""
    app = web.Application()
    app.router.add_get("/file", door)
    app.router.add_get("/moved", _to("/file"))
    app.router.add_get("/away", _to("http://169.254.169.254/file"))
    app.router.add_get("/circle", _to("/circle"))
    async with TestServer(app, host="127.0.0.1") as server, ClientSession() as http:
        root = str(server.make_url("/")).rstrip("/")
        yield Files(http, frozenset(), root), root


def _to(address: str) -> Door:
    async def moved(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": address})

    return moved


async def read(files: Files, address: str, position: int = 0) -> bytes:
    async with files.open(address, position) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("door", [ranged, whole])
async def test_a_file_is_read_from_any_byte_on_whether_the_server_knows_ranges_or_not(door: Door) -> None:
    async with served(door) as (files, root):
        for position in (0, 1, 70_000, len(CONTENT)):
            assert await read(files, f"{root}/file", position) == CONTENT[position:]
        assert await read(files, f"{root}/moved", 9) == CONTENT[9:]


async def test_a_file_that_is_cut_off_or_answered_wrongly_is_no_file() -> None:
    async with served(broken_off) as (files, root):
        with pytest.raises(FileAway, match="cut off"):
            await read(files, f"{root}/file")
        with pytest.raises(FileAway, match="circles"):
            await read(files, f"{root}/circle")
        with pytest.raises(FileGone, match="404"):
            await read(files, f"{root}/nothing")
    async with ClientSession() as http:
        nowhere = f"http://127.0.0.1:{free_port()}"
        with pytest.raises(FileAway, match="reached"):
            await read(Files(http, frozenset(), nowhere), f"{nowhere}/file")
    async with served(elsewhere) as (files, root):
        with pytest.raises(FileAway, match="from where it was asked"):
            await read(files, f"{root}/file", 5)


@pytest.mark.parametrize(
    "address",
    [
        "http://storage.googleapis.com/a",
        "https://storage.googleapis.com:8443/a",
        "https://storage.googleapis.com.example.com/a",
        "https://example.com/storage.googleapis.com",
        "http://127.0.0.1/a",
    ],
)
async def test_no_other_host_is_asked_for_a_file(address: str) -> None:
    async with ClientSession() as http:
        files = Files(http, frozenset({"storage.googleapis.com"}))
        with pytest.raises(WrongHost):
            await read(files, address)


async def test_nor_is_one_that_a_file_moved_to() -> None:
    async with served(whole) as (files, root):
        with pytest.raises(WrongHost, match=r"169\.254\.169\.254"):
            await read(files, f"{root}/away")
