"""What the sender and the watcher make of the answers they get."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count

from aiohttp import web

from libs.common.service import Service
from libs.common.settings import CommonSettings
from tests.chaos.traffic import Traffic
from tests.chaos.watcher import Watcher
from tests.servers.ports import free_port
from tests.serving import serving
from tests.waiting import poll

Answer = Callable[[], web.Response]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Door:
    """A service that answers in turn what it is told, and then 200 with a new message id."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = iter(answers)
        self.numbers = count()
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("X-Shopify-Webhook-Id", ""))
        given = next(self.answers, None)
        return given() if given else web.json_response({"id": f"m{next(self.numbers)}"})


@asynccontextmanager
async def traffic_to(door: Door, *, per_second: float = 60) -> AsyncIterator[Traffic]:
    async with serving([Service("door", [web.post("/", door.answer)])]) as client:
        yield Traffic(str(client._base_url), "secret", random.Random(1), per_second=per_second)


def unavailable() -> web.Response:
    return web.Response(status=503)


def unauthorised() -> web.Response:
    return web.Response(status=401, text="no")


async def test_a_delivery_is_tried_until_it_is_accepted() -> None:
    door = Door(unavailable, unavailable)
    async with traffic_to(door) as traffic:
        assert await traffic.send("chaos/plain") == "m0"
    assert [request.outcome for request in traffic.requests] == ["unknown", "unknown", "ok"]
    assert len(set(door.asked)) == len({request.webhook_id for request in traffic.requests}) == 1
    assert [request.message_id for request in traffic.requests] == [None, None, "m0"]
    assert list(traffic.accepted) == ["m0"]
    assert not traffic.troubles


async def test_what_was_never_sent_was_refused_and_not_unknown() -> None:
    traffic = Traffic(f"http://127.0.0.1:{free_port()}/", "secret", random.Random(1))
    sending = asyncio.create_task(traffic.send("chaos/plain"))
    await poll(lambda: traffic.requests)
    sending.cancel()
    assert traffic.requests[0].outcome == "fail"


async def test_a_try_that_is_broken_off_stays_unknown() -> None:
    asked = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    hasty = CommonSettings(shutdown_seconds=0.1)
    async with serving([Service("door", [web.post("/", silent)])], hasty) as client:
        traffic = Traffic(str(client._base_url), "secret", random.Random(1))
        sending = asyncio.create_task(traffic.send("chaos/plain"))
        await asked.wait()
        sending.cancel()
        await asyncio.wait([sending])
    [request] = traffic.requests
    assert (request.outcome, request.ended, request.message_id) == ("unknown", None, None)


async def test_a_good_delivery_that_is_refused_is_trouble() -> None:
    async with traffic_to(Door(unauthorised)) as traffic:
        await traffic.send("chaos/plain")
    [trouble] = traffic.troubles
    assert trouble.text == "answered a good delivery with 401: no"


async def test_traffic_repeats_some_deliveries_and_forges_some() -> None:
    door = Door()
    async with traffic_to(door, per_second=2000) as traffic:
        running = asyncio.create_task(traffic.run())
        await poll(lambda: len(traffic.requests) > 200)
        traffic.finish()
        await running
    tries = [request.webhook_id for request in traffic.requests]
    assert len(set(tries)) < len(tries)
    assert any(request.forged for request in traffic.requests)
    assert traffic.waiting == 0


@asynccontextmanager
async def watcher_of(show: Handler) -> AsyncIterator[Watcher]:
    async with (
        serving([Service("worker", [web.get("/api/jobs/{id}", show)])]) as client,
        Watcher([str(client._base_url).rstrip("/")], "token") as watcher,
    ):
        yield watcher


def jobs(*statuses: int | tuple[str, int]) -> Iterator[web.Response]:
    for status in statuses:
        if isinstance(status, int):
            yield web.Response(status=status)
        else:
            yield web.json_response({"status": status[0], "attempts": [{}] * status[1]})


async def test_the_watcher_writes_down_what_it_is_told_in_order() -> None:
    answers = jobs(
        ("queued", 0), 503, ("pending", 1), 404, ("completed", 2), ("completed", 2), ("completed", 2)
    )
    tokens = set()

    async def show(request: web.Request) -> web.Response:
        tokens.add(request.headers["Authorization"])
        return next(answers)

    async with watcher_of(show) as watcher:
        watcher.watch("m1")
        await poll(lambda: len(watcher.sightings) == 6, within=30)
    assert tokens == {"Bearer token"}
    assert [(seen.message_id, seen.status, seen.attempts) for seen in watcher.sightings] == [
        ("m1", "queued", 0),
        ("m1", "pending", 1),
        ("m1", "missing", 0),
        *[("m1", "completed", 2)] * 3,
    ]


async def test_the_last_look_sees_every_watched_message_once_more() -> None:
    async def show(request: web.Request) -> web.Response:
        return web.json_response({"status": "completed", "attempts": []})

    async with watcher_of(show) as watcher:
        for number in range(10):
            watcher.watch(f"m{number}")
        await poll(lambda: len(watcher.sightings) >= 30, within=30)
        before = len(watcher.sightings)
        await watcher.last_look()
        assert sorted(seen.message_id for seen in watcher.sightings[before:]) == [f"m{n}" for n in range(10)]
