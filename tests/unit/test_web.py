import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web
from prometheus_client import REGISTRY
from pydantic import SecretStr

from libs.common.errors import ConfigurationError, DatabaseAway
from libs.common.service import Service
from libs.common.web import Problem, json_response, note, read_body, require_ops
from tests.log_capture import logged
from tests.serving import serving
from tests.waiting import poll

Lines = Callable[[], list[dict[str, Any]]]

LIMIT = 1000


async def hello(request: web.Request) -> web.Response:
    note(request, shop="a.myshopify.com")
    return json_response({"hello": request.match_info["name"]})


async def read(request: web.Request) -> web.Response:
    body = await read_body(request, limit=LIMIT, seconds=0.3)
    return json_response({"bytes": len(body)})


def raising(error: Exception) -> Callable[[web.Request], Any]:
    async def handler(_: web.Request) -> web.Response:
        raise error

    return handler


def services(*routes: web.RouteDef) -> list[Service]:
    return [Service("test", [web.get("/hello/{name}", hello), web.post("/read", read), *routes])]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log lines so far, as data."""
    with logged() as written:
        yield lambda: written.lines


async def problem(response: ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    found: dict[str, Any] = await response.json()
    assert found["status"] == response.status
    assert set(found) == {"type", "title", "status", "detail"}
    return found


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_an_unknown_address_is_a_problem() -> None:
    async with serving(services()) as client:
        found = await problem(await client.get("/nowhere"))
    assert (found["status"], found["title"]) == (404, "Not Found")


async def test_a_wrong_method_is_a_problem_that_names_the_right_ones() -> None:
    async with serving(services(web.put("/read", read))) as client:
        response = await client.delete("/read")
        found = await problem(response)
    assert (found["status"], response.headers["Allow"]) == (405, "POST, PUT")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Problem(409, "it is there already", kind="there"), 409, "urn:shopbus:problem:there"),
        (Problem(418, "no"), 418, "about:blank"),
        (web.HTTPForbidden(), 403, "about:blank"),
        (DatabaseAway("secret host is away"), 503, "urn:shopbus:problem:database-away"),
        (RuntimeError("a secret inside"), 500, "urn:shopbus:problem:fault"),
    ],
)
async def test_every_error_becomes_a_problem(error: Exception, status: int, kind: str) -> None:
    async with serving(services(web.get("/fail", raising(error)))) as client:
        response = await client.get("/fail")
        found = await problem(response)
    assert (found["status"], found["type"]) == (status, kind)
    assert "secret" not in await response.text()
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_a_redirect_stays_a_redirect() -> None:
    async with serving(services(web.get("/go", raising(web.HTTPFound("/there"))))) as client:
        response = await client.get("/go", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "/there")


async def test_a_request_is_one_line_with_what_its_handler_noted(
    lines: Lines,
) -> None:
    async with serving(services()) as client:
        response = await client.get("/hello/you?token=hush", headers={"X-Request-Id": "from-the-gateway"})
    (line,) = await poll(lines)
    assert response.headers["X-Request-Id"] == "from-the-gateway"
    assert line.pop("duration_ms") >= 0
    assert line.pop("time")
    assert line == {
        "level": "info",
        "event": "GET /hello/{name} answered 200",
        "logger": "http",
        "service": "test",
        "route": "/hello/{name}",
        "method": "GET",
        "status": 200,
        "request_id": "from-the-gateway",
        "shop": "a.myshopify.com",
    }


async def test_a_fault_is_logged_with_its_traceback(lines: Lines) -> None:
    async with serving(services(web.get("/fail", raising(RuntimeError("what happened"))))) as client:
        await client.get("/fail")
    (line,) = await poll(lines)
    assert line["level"] == "error"
    assert line["exception"].endswith("RuntimeError: what happened")


async def test_the_probes_leave_no_line(lines: Lines) -> None:
    async with serving(services()) as client:
        for path in ("/healthz", "/readyz", "/metrics", "/hello/last"):
            await client.get(path)
    assert [line["route"] for line in await poll(lines)] == ["/hello/{name}"]


@pytest.mark.parametrize("given", ["", "with blanks", "a" * 129, "né"])
async def test_a_request_id_that_is_none_is_replaced(given: str) -> None:
    async with serving(services()) as client:
        first = await client.get("/hello/a", headers={"X-Request-Id": given})
        second = await client.get("/hello/a")
    ids = {first.headers["X-Request-Id"], second.headers["X-Request-Id"]}
    assert len(ids) == 2
    assert given not in ids


async def test_requests_are_counted_by_the_pattern_of_their_route() -> None:
    labels = {"service": "test", "route": "/hello/{name}", "method": "GET", "status": "200"}
    before = metric("http_requests_total", **labels)
    timed = metric("http_request_duration_seconds_count", **labels)
    async with serving(services()) as client:
        for name in ("a", "b", "c"):
            await client.get(f"/hello/{name}")
        shown = await (await client.get("/metrics")).text()
    assert metric("http_requests_total", **labels) == before + 3
    assert metric("http_request_duration_seconds_count", **labels) == timed + 3
    assert 'http_requests_total{method="GET",route="/hello/{name}",service="test",status="200"}' in shown
    assert "/hello/a" not in shown


async def test_strangers_cannot_make_new_labels() -> None:
    labels = {"service": "test", "route": "unmatched", "method": "OTHER", "status": "404"}
    before = metric("http_requests_total", **labels)
    async with serving(services()) as client:
        for number in range(3):
            await client.request("PROPFIND", f"/no/such/{number}")
    assert metric("http_requests_total", **labels) == before + 3


async def test_two_services_share_a_port_and_are_counted_apart() -> None:
    one, two = (Service(name, [web.get(f"/{name}", hello_plain)]) for name in ("one", "two"))
    labels = {"method": "GET", "status": "200"}
    before = [
        metric("http_requests_total", service=name, route=f"/{name}", **labels) for name in ("one", "two")
    ]
    async with serving([one, two]) as client:
        for path in ("/one", "/two", "/two"):
            assert (await client.get(path)).status == 200
    after = [
        metric("http_requests_total", service=name, route=f"/{name}", **labels) for name in ("one", "two")
    ]
    assert [after[0] - before[0], after[1] - before[1]] == [1, 2]


async def hello_plain(_: web.Request) -> web.Response:
    return json_response({})


# bodies


@pytest.mark.parametrize("size", [0, 1, LIMIT])
async def test_a_body_within_the_limit_is_read(size: int) -> None:
    async with serving(services()) as client:
        response = await client.post("/read", data=b"x" * size)
        assert await response.json() == {"bytes": size}


async def test_a_body_over_the_limit_is_413() -> None:
    async with serving(services()) as client:
        assert (await problem(await client.post("/read", data=b"x" * (LIMIT + 1))))["status"] == 413


async def test_a_chunked_body_over_the_limit_is_413_before_it_ends() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 100

    async with serving(services()) as client:
        assert (await problem(await client.post("/read", data=endless())))["status"] == 413


async def connection(client: ClientSession) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to what the client is for, for bytes that no client sends."""
    base = client._base_url
    assert base is not None
    return await asyncio.open_connection(base.host, base.port)


async def raw(client: ClientSession, *parts: bytes) -> tuple[int, dict[str, Any]]:
    """Sends bytes as they are; returns the status and the body of the answer."""
    reader, writer = await connection(client)
    for part in parts:
        writer.write(part)
        await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line[15:]) for line in head.splitlines() if line.startswith("Content-Length:"))
    body = json.loads(await reader.readexactly(length))
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def test_a_length_that_lies_upwards_is_408() -> None:
    async with serving(services()) as client:
        status, found = await raw(
            client, b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nshort"
        )
    assert (status, found["type"]) == (408, "urn:shopbus:problem:body-too-slow")


async def test_a_length_beyond_the_limit_is_413_without_reading() -> None:
    async with serving(services()) as client:
        status, _ = await raw(
            client, b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nshort"
        )
    assert status == 413


async def test_a_client_that_hangs_up_within_its_body_is_400_in_the_log(lines: Lines) -> None:
    async with serving(services()) as client:
        _, writer = await connection(client)
        writer.write(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nshort")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        (line,) = await poll(lines)
    assert (line["status"], line["route"]) == (400, "/read")


async def test_a_compressed_body_stays_as_it_was_sent() -> None:
    packed = gzip.compress(b"x" * 10_000)
    async with serving(services()) as client:
        response = await client.post("/read", data=packed, headers={"Content-Encoding": "gzip"})
        assert await response.json() == {"bytes": len(packed)}


# the door for whoever runs the app


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer hush", 200),
        ("bearer hush", 200),
        ("Bearer  hush ", 200),
        ("Bearer hushh", 401),
        ("Bearer hus", 401),
        ("Bearer ", 401),
        ("Bearer", 401),
        ("Basic hush", 401),
        ("hush", 401),
        ("Bearer h\u00fcsh", 401),
    ],
)
async def test_only_the_ops_token_opens(header: str | None, status: int) -> None:
    guarded = require_ops(SecretStr("hush"))(hello_plain)
    async with serving(services(web.get("/ops", guarded))) as client:
        response = await client.get("/ops", headers={"Authorization": header} if header else {})
    assert response.status == status
    assert response.headers.get("WWW-Authenticate", "").startswith("Bearer") == (status == 401)


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_ops_token_is_a_closed_door(token: str) -> None:
    with pytest.raises(ConfigurationError, match="OPS_TOKEN"):
        require_ops(SecretStr(token))


# readiness


async def test_alive_and_ready() -> None:
    async with serving(services()) as client:
        assert (await client.get("/healthz")).status == 200
        response = await client.get("/readyz")
        assert (response.status, await response.json()) == (200, {"ready": True, "reasons": [], "notes": []})


async def test_not_ready_says_why_and_what_else() -> None:
    async def fine() -> None:
        return None

    async def away() -> str:
        return "the database is away"

    async def broken() -> str:
        raise RuntimeError("a secret inside")

    first = Service(
        "one", [], {"fine": fine, "away": away}, {"route": lambda: "RabbitMQ is away", "none": lambda: None}
    )
    second = Service("two", [], {"broken": broken})
    async with serving([first, second]) as client:
        response = await client.get("/readyz")
        assert response.status == 503
        assert await response.json() == {
            "ready": False,
            "reasons": ["one: the database is away", "two: a check failed with RuntimeError"],
            "notes": ["RabbitMQ is away"],
        }
