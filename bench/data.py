"""A page of orders for the app's own pages: kept in memory, known to the browser, and asked of Shopify."""

import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import aiohttp

from bench import stage
from bench.processes import Processes
from bench.result import Result, Table, percentile
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from tests.session_tokens import CLIENT_ID, SECRET, session_token
from tests.waiting import poll

HIT, KNOWN, MISS = "kept in memory", "known to the browser (304)", "asked of Shopify"
ORDERS = 50

NOTE = (
    f"A page of {ORDERS} orders of one shop, one request after the other over HTTP, with a session token that is "
    "verified each time; one worker process. The server that plays Shopify answers at once from a process of its own, "
    "so what is asked of Shopify shows our own work alone: the client, reading the answer, and writing ours."
)

Microseconds = list[float]


async def run(scale: Scale) -> Result:
    """All three, in turns."""
    with stage.opened() as servers, Processes({}) as processes:
        shopify, _ = await processes.started("bench.shopify")
        address = f"http://127.0.0.1:{shopify}"
        settings = stage.environment(
            await servers.database("data"), SHOPIFY_API_KEY=CLIENT_ID, SHOPIFY_API_SECRET=SECRET,
            AUTH_URL=address, SANDBOX_STORE_URL=f"{address}/stores", DATA_FRESH_SECONDS="86400",
            DATA_STALE_SECONDS="86400",
        )  # fmt: skip
        port, _ = await processes.started("services.worker", **settings)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=_proof()) as http:
            figures = await interleaved(await _sides(http, scale.seconds), scale.rounds, scale.progress)
    return _result(figures)


def _proof() -> dict[str, str]:
    """A token that outlives the run; Shopify's live for a minute."""
    now = datetime.now(UTC)
    return {"Authorization": f"Bearer {session_token(now=now, exp=int(now.timestamp()) + 86_400)}"}


async def _sides(
    http: aiohttp.ClientSession, seconds: float
) -> dict[str, Callable[[], Awaitable[Microseconds]]]:
    async def is_kept() -> bool:
        async with http.get("/api/orders") as answer:
            return answer.headers.get("X-Shopbus-Cache") == "hit"

    await poll(is_kept)
    async with http.get("/api/orders") as answer:
        known = {"If-None-Match": answer.headers["ETag"]}
    moments = (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in itertools.count())

    def other() -> Mapping[str, str]:
        return {"updated_since": next(moments).isoformat().replace("+00:00", "Z")}

    return {
        HIT: partial(_timed, http, seconds, "hit", 200, {}, dict),
        KNOWN: partial(_timed, http, seconds, "hit", 304, known, dict),
        MISS: partial(_timed, http, seconds, "miss", 200, {}, other),
    }


async def _timed(
    http: aiohttp.ClientSession,
    seconds: float,
    source: str,
    status: int,
    headers: Mapping[str, str],
    query: Callable[[], Mapping[str, str]],
) -> Microseconds:
    async with http.get("/api/orders", params=query(), headers=headers) as answer:
        await answer.read()  # what the other sides asked for may have taken its place in memory
    took: Microseconds = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        async with http.get("/api/orders", params=query(), headers=headers) as answer:
            await answer.read()
            if (answer.status, answer.headers.get("X-Shopbus-Cache")) != (status, source):
                raise RuntimeError(f"answered {answer.status}, {answer.headers.get('X-Shopbus-Cache')}")
        took.append((time.perf_counter() - started) * 1e6)
    return took


def _result(figures: dict[str, list[Microseconds]]) -> Result:
    medians = {name: [percentile(took, 0.5) for took in rounds] for name, rounds in figures.items()}
    everything = {name: [one for took in rounds for one in took] for name, rounds in figures.items()}
    return Result(
        "data",
        "A page of orders for the app's own pages",
        ratios=(
            ratio(
                "time of one answer, kept in memory ÷ asked of Shopify",
                medians[HIT],
                medians[MISS],
                most=True,
            ),
            ratio("time of one answer, 304 ÷ kept in memory", medians[KNOWN], medians[HIT], most=True),
        ),
        tables=(
            Table(
                ("", "p50 µs", "p99 µs", "answers"),
                [
                    (name, percentile(took, 0.5), percentile(took, 0.99), len(took))
                    for name, took in everything.items()
                ],
            ),
        ),
        notes=(NOTE,),
    )
