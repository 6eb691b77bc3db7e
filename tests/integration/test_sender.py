"""The sender behaves as Shopify does against receivers that misbehave."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from random import Random
from typing import Any

from aiohttp import web

from libs.common.clock import SystemClock
from services.sandbox.deliveries import Delivery, Format, Plan, Signer, sandbox_shops
from services.sandbox.sender import RETRY_DELAYS, Load, Patience, Sender, open_session
from services.sandbox.tally import Tally
from tests.integration.receiver import Behaviour, HeldClock, ImpatientClock, LateClock, Receiver, receiver

SECRET = b"a secret for tests"
DEADLINE = 30.0
QUICK = Patience().scaled(0)
ONCE = Patience(retry_delays=())


def plan(count_of_shops: int = 2, *, style: Format = Format.CLASSIC) -> Plan:
    return Plan("orders/create", sandbox_shops(count_of_shops), 1, SystemClock(), style)


async def send(
    url: str,
    load: Load,
    *,
    patience: Patience = QUICK,
    concurrency: int = 10,
    style: Format = Format.CLASSIC,
    make: Callable[[int], Delivery] | None = None,
    **options: Any,
) -> Tally:
    async with asyncio.timeout(DEADLINE), open_session(patience, concurrency) as http:
        signer = Signer(SECRET, "2026-10", style)
        sender = Sender(http, url, signer, concurrency=concurrency, patience=patience, **options)
        return await sender.send(load, make or plan(style=style).delivery, draw=Random(1))


async def accept(taker: Receiver, request: web.Request) -> web.Response:
    """Answers as shopbus does."""
    webhook_id = request.headers["X-Shopify-Webhook-Id"]
    return web.json_response({"id": f"message-{webhook_id}", "duplicate": taker.tries_of(request) > 1})


async def accept_any(_taker: Receiver, _request: web.Request) -> web.Response:
    return web.Response(status=204)


def refusing_first(status: int, **headers: str) -> Behaviour:
    async def behave(taker: Receiver, request: web.Request) -> web.Response:
        if taker.tries_of(request) == 1:
            return web.Response(status=status, headers=headers)
        return await accept_any(taker, request)

    return behave


async def test_what_arrives_is_signed_over_its_exact_bytes() -> None:
    async with receiver(accept) as taker:
        tally = await send(taker.url, Load(5))
    assert tally.accepted == 5
    for headers, body in taker.requests:
        expected = base64.b64encode(hmac.new(SECRET, body, hashlib.sha256).digest()).decode()
        assert headers["x-shopify-hmac-sha256"] == expected
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["line_items"]
        assert datetime.fromisoformat(headers["x-shopify-triggered-at"]).tzinfo is not None
    assert len(set(taker.ids())) == 5


async def test_next_generation_deliveries_arrive_with_the_other_family() -> None:
    async with receiver(accept_any) as taker:
        await send(taker.url, Load(1), style=Format.NEXT)
    [(headers, body)] = taker.requests
    assert (headers["shopify-topic"], headers["shopify-action"]) == ("Order", "create")
    assert json.loads(body)["data"]["admin_graphql_api_id"] == headers["shopify-resource-id"]
    assert not any(name.startswith("x-shopify-") for name in headers)


async def test_a_retry_is_the_same_delivery_again() -> None:
    async with receiver(refusing_first(503)) as taker:
        tally = await send(taker.url, Load(1))
    assert (tally.accepted, tally.retried, tally.given_up) == (1, 1, 0)
    assert tally.rejected == {"503": 1}
    first, second = taker.requests
    assert first == second


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with receiver(refusing_first(302, Location="/elsewhere")) as taker:
        tally = await send(taker.url, Load(1))
    assert tally.rejected == {"302": 1}
    assert (tally.accepted, tally.retried) == (1, 1)


async def test_shopify_gives_up_after_eight_retries_on_its_schedule() -> None:
    async def refuse(_taker: Receiver, _request: web.Request) -> web.Response:
        return web.Response(status=500)

    clock = ImpatientClock()
    async with receiver(refuse) as taker:
        tally = await send(taker.url, Load(1), patience=Patience(), clock=clock)
    assert len(taker.requests) == 9
    assert tuple(clock.slept) == RETRY_DELAYS
    assert (tally.given_up, tally.accepted, tally.retried) == (1, 0, 8)
    assert tally.ended == tally.sent == 1


async def test_a_receiver_that_hangs_has_failed() -> None:
    async def hang_once(taker: Receiver, request: web.Request) -> web.Response:
        if taker.tries_of(request) == 1:
            await asyncio.sleep(DEADLINE)
        return await accept_any(taker, request)

    patience = Patience(total=1.0, retry_delays=(0.0, 0.0))
    async with receiver(hang_once) as taker:
        tally = await send(taker.url, Load(1), patience=patience)
    assert tally.unanswered == {"timeout": 1}
    assert tally.accepted == 1


async def test_an_answer_that_does_not_end_in_time_has_failed() -> None:
    async def dribble(_taker: Receiver, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"12345")
        await asyncio.sleep(DEADLINE)
        return response

    async with receiver(dribble) as taker:
        tally = await send(taker.url, Load(1), patience=Patience(total=0.2, retry_delays=()))
    assert tally.unanswered == {"timeout": 1}
    assert tally.given_up == 1


async def test_a_receiver_that_does_not_accept_the_connection_has_failed() -> None:
    with ExitStack() as sockets:
        deaf = sockets.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(8):  # fills the kernel's queue, so that the next connection is not answered
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        tally = await send(url, Load(1), patience=Patience(connect=0.2, retry_delays=()))
    assert tally.unanswered == {"connect timeout": 1}


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tally = await send(f"http://127.0.0.1:{unused.getsockname()[1]}/", Load(2), patience=ONCE)
    assert tally.unanswered == {"no connection": 2}
    assert tally.given_up == 2


async def test_a_connection_that_is_cut_has_failed() -> None:
    async def cut(_taker: Receiver, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with receiver(cut) as taker:
        tally = await send(taker.url, Load(1), patience=ONCE)
    assert tally.unanswered == {"broken off": 1}


async def test_connections_are_reused_and_no_more_are_open_than_allowed() -> None:
    everyone = asyncio.Event()

    async def gather(taker: Receiver, request: web.Request) -> web.Response:
        if taker.in_flight == 4:
            everyone.set()
        await everyone.wait()
        return await accept(taker, request)

    async with receiver(gather) as taker:
        tally = await send(taker.url, Load(60), concurrency=4)
    assert tally.accepted == 60
    assert taker.most_in_flight == 4
    assert len(taker.connections) == 4


async def test_a_delivery_that_waits_for_its_retry_holds_nobody_up() -> None:
    clock = HeldClock()

    async def refuse_the_first(taker: Receiver, _request: web.Request) -> web.Response:
        if len(taker.requests) == 3:
            clock.release.set()
        return web.Response(status=503 if len(taker.requests) == 1 else 200)

    async with receiver(refuse_the_first) as taker:
        tally = await send(
            taker.url, Load(3), concurrency=1, patience=Patience(retry_delays=(1.0,)), clock=clock
        )
    assert tally.accepted == 3
    first = taker.ids()[0]
    assert [identifier == first for identifier in taker.ids()] == [True, False, False, True]


async def test_a_share_is_sent_twice_and_counted_as_answered() -> None:
    async with receiver(accept) as taker:
        tally = await send(taker.url, Load(40, duplicates=0.25))
    ids = taker.ids()
    assert len(set(ids)) == 40
    assert len(ids) == 40 + tally.copies
    assert 0 < tally.copies < 40
    assert (tally.accepted, tally.duplicates) == (40, tally.copies)
    assert tally.ended == tally.sent + tally.copies


async def test_every_accepted_id_is_told_also_after_a_retry() -> None:
    async def stumble(taker: Receiver, request: web.Request) -> web.Response:
        if taker.tries_of(request) == 1 and len(taker.requests) % 2:
            return web.Response(status=503)
        return web.json_response({"id": request.headers["X-Shopify-Webhook-Id"], "duplicate": False})

    told: list[str] = []
    async with receiver(stumble) as taker:
        tally = await send(taker.url, Load(10), on_accepted=told.append)
    assert sorted(told) == sorted(set(taker.ids()))
    assert tally.retried > 0


async def test_answers_that_are_no_receipts_are_successes_too() -> None:
    async def talk(taker: Receiver, _request: web.Request) -> web.Response:
        texts = ["", "thanks", "[1]", '{"id": 7}', "\x00"]
        return web.Response(text=texts[len(taker.requests) % len(texts)])

    told: list[str] = []
    async with receiver(talk) as taker:
        tally = await send(taker.url, Load(10), on_accepted=told.append)
    assert (tally.accepted, told) == (10, [])


async def test_the_rate_does_not_drift_when_sleeps_last_too_long() -> None:
    clock, rate, made_at = LateClock(), 100.0, []

    def make(number: int) -> Delivery:
        made_at.append(clock.time)
        return plan().delivery(number)

    async with receiver(accept_any) as taker:
        await send(taker.url, Load(200, rate=rate), clock=clock, make=make)
    lateness = [at - number / rate for number, at in enumerate(made_at)]
    assert min(lateness) >= 0
    assert max(lateness) < 1 / rate  # an error that adds up would be a second by now
