"""What the Admin API client costs a call: against plain aiohttp, to the same server."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import orjson
from pydantic import SecretStr

from bench.processes import Processes
from bench.result import Result, Table, percentile
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from libs.common import logs
from libs.common.clock import SystemClock
from libs.common.db import direct_connections, open_pool
from libs.common.migrate import migrate
from libs.common.shopify.admin.client import AdminClient
from libs.common.shopify.admin.config import AdminSettings
from libs.common.shopify.admin.open import open_admin
from tests.servers.postgres import PostgresServer

CALLERS = 16
SHOP = "bench.myshopify.com"
QUERY = "query ShopName { shop { name } }"
VERSION = "2026-10"

OURS, PLAIN = "the client, one call after the other", "aiohttp alone, one after the other"
OURS_TOGETHER, PLAIN_TOGETHER = f"the client, {CALLERS} at once", f"aiohttp alone, {CALLERS} at once"

NOTE = (
    "The server answers at once with a few hundred bytes, from a process of its own; its bucket is never empty. The "
    "client takes a token from its cache and points from a lease in Postgres, and reads the cost."
)

Microseconds = list[float]


async def run(scale: Scale) -> Result:
    """Both sides, in turns."""
    logs.configure("WARNING", "json")
    with PostgresServer() as postgres:
        postgres.create_database("admin")
        migrate(postgres.url("admin"))
        with Processes({}) as processes:
            port, _ = await processes.started("bench.shopify")
            async with _clients(postgres.url("admin"), f"http://127.0.0.1:{port}") as (admin, post):
                ours = partial(admin.graphql, SHOP, QUERY)
                sides: dict[str, Callable[[], Awaitable[Microseconds]]] = {
                    OURS: partial(_timed, ours, scale.seconds),
                    PLAIN: partial(_timed, post, scale.seconds),
                    OURS_TOGETHER: partial(_together, ours, scale.seconds),
                    PLAIN_TOGETHER: partial(_together, post, scale.seconds),
                }
                figures = await interleaved(sides, scale.rounds, scale.progress)
    return _result(figures)


@asynccontextmanager
async def _clients(
    database: str, server: str
) -> AsyncIterator[tuple[AdminClient, Callable[[], Awaitable[object]]]]:
    settings = AdminSettings(
        database_url=SecretStr(database), auth_url=server, service_key=SecretStr("bench" * 10),
        sandbox_store_url=f"{server}/stores", api_waiting_per_shop=CALLERS,
    )  # fmt: skip
    async with (
        open_pool(settings) as pool,
        open_admin(settings, pool, direct_connections(settings), SystemClock(), caller="bench") as admin,
        aiohttp.ClientSession() as http,
    ):
        await admin.graphql(SHOP, QUERY)  # the first call learns what there is
        yield admin, partial(_post, http, f"{server}/stores/{SHOP}/admin/api/{VERSION}/graphql.json")


async def _post(http: aiohttp.ClientSession, url: str) -> object:
    """What is written where there is no client: one request, its answer as JSON."""
    body = orjson.dumps({"query": QUERY, "variables": {}})
    headers = {"Content-Type": "application/json", "X-Shopify-Access-Token": "shpat_0"}
    async with http.post(url, data=body, headers=headers) as response:
        return orjson.loads(await response.read())["data"]


async def _timed(call: Callable[[], Awaitable[object]], seconds: float) -> Microseconds:
    took: Microseconds = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        await call()
        took.append((time.perf_counter() - started) * 1e6)
    return took


async def _together(call: Callable[[], Awaitable[object]], seconds: float) -> Microseconds:
    rounds = await asyncio.gather(*(_timed(call, seconds) for _ in range(CALLERS)))
    return [one for took in rounds for one in took]


def _result(figures: dict[str, list[Microseconds]]) -> Result:
    medians = {name: [percentile(took, 0.5) for took in rounds] for name, rounds in figures.items()}
    calls = {name: [float(len(took)) for took in rounds] for name, rounds in figures.items()}
    everything = {name: [one for took in rounds for one in took] for name, rounds in figures.items()}
    return Result(
        "admin",
        "Calling the Admin API",
        ratios=(
            ratio("time of one call, the client ÷ aiohttp alone", medians[OURS], medians[PLAIN], most=True),
            ratio(
                f"calls a second with {CALLERS} at once, the client ÷ aiohttp alone",
                calls[OURS_TOGETHER], calls[PLAIN_TOGETHER],
            ),
        ),
        tables=(
            Table(
                ("", "p50 µs", "p99 µs", "calls"),
                [
                    (name, percentile(took, 0.5), percentile(took, 0.99), len(took))
                    for name, took in everything.items()
                ],
            ),
        ),
        notes=(NOTE,),
    )  # fmt: skip
