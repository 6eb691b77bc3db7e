"""Knowing who calls, and getting a token: the guard on a request, the token client with and without its cache."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import aiohttp
import asyncpg
import jwt
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import SecretStr

from bench.processes import Processes
from bench.result import Result, Table, percentile
from bench.rounds import interleaved, ratio
from bench.scale import Scale
from libs.common.clock import SystemClock
from libs.common.migrate import migrate
from libs.common.service_token import ServiceKey
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.session_token import SessionTokenVerifier
from libs.common.shopify.token_answers import Granted
from libs.common.token_box import TokenBox
from libs.common.token_client import TokenClient
from libs.common.web_session import SessionGuard
from services.auth import store
from services.auth.installs import Install
from services.auth.vault import Vault
from tests.servers.postgres import PostgresServer
from tests.session_tokens import CLIENT_ID, SECRET, SHOP, session_token

TOKEN_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # noqa: S105 - of this run alone
SERVICE_KEY = "bench" * 10
CALLERS = 32

GUARDED, DECODED = "the guard before a handler", "PyJWT alone"
CACHED, ASKED, ASKED_TOGETHER = "from the cache", "asked of auth, one after the other", f"{CALLERS} at once"

NOTE = (
    "The guard: one session token of a real size, read anew for each request, without the network. Asked of auth: over "
    "HTTP, one auth process, its row read and its token opened each time; each of the callers at once has its own shop."
)

Microseconds = list[float]


async def run(scale: Scale) -> Result:
    """Both halves, in turns."""
    with PostgresServer() as postgres:
        url = postgres.url("sessions")
        postgres.create_database("sessions")
        migrate(url)
        shops = [f"bench-{number:03d}.myshopify.com" for number in range(CALLERS)]
        await _seed(url, shops)
        with Processes(_environment(url)) as processes:
            port, _ = await processes.started("services.auth")
            async with aiohttp.ClientSession() as http:
                client = TokenClient(
                    http, f"http://127.0.0.1:{port}", ServiceKey(SecretStr(SERVICE_KEY)), caller="bench"
                )
                figures = await interleaved(
                    _sides(client, shops, scale.seconds), scale.rounds, scale.progress
                )
                await client.close()
    return _result(figures)


def _sides(
    client: TokenClient, shops: list[str], seconds: float
) -> dict[str, Callable[[], Awaitable[Microseconds]]]:
    cached = partial(client.token, shops[0])
    return {
        GUARDED: partial(_timed, _guarded(), seconds),
        DECODED: partial(_timed, _decoded(), seconds),
        CACHED: partial(_timed, cached, seconds),
        ASKED: partial(_timed, partial(_anew, client, shops[0]), seconds),
        ASKED_TOGETHER: partial(_together, client, shops, seconds),
    }


async def _timed(call: Callable[[], Awaitable[object]], seconds: float) -> Microseconds:
    took: Microseconds = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        await call()
        took.append((time.perf_counter() - started) * 1e6)
    return took


async def _together(client: TokenClient, shops: list[str], seconds: float) -> Microseconds:
    rounds = await asyncio.gather(*(_timed(partial(_anew, client, shop), seconds) for shop in shops))
    return [one for took in rounds for one in took]


async def _anew(client: TokenClient, shop: str) -> object:
    client.drop(shop)
    return await client.token(shop)


def _guarded() -> Callable[[], Awaitable[object]]:
    verifier = SessionTokenVerifier(CLIENT_ID, SECRET)
    guard = SessionGuard(verifier, Addresses(), CLIENT_ID, "https://app.example.com", SystemClock())
    response = web.Response()

    async def handler(_: web.Request) -> web.Response:
        return response

    guarded, headers = guard.fetched(handler), {"Authorization": f"Bearer {_long_lived()}"}
    request = make_mocked_request("GET", "/", headers=headers)
    return partial(guarded, request)


def _decoded() -> Callable[[], Awaitable[object]]:
    token = _long_lived()

    async def decode() -> object:
        return jwt.decode(token, SECRET, algorithms=["HS256"], audience=CLIENT_ID, leeway=10)

    return decode


def _long_lived() -> str:
    """A token that outlives the run; Shopify's live for a minute."""
    now = datetime.now(UTC)
    return session_token(now=now, exp=int(now.timestamp()) + 86_400)


async def _seed(url: str, shops: list[str]) -> None:
    now, vault = datetime.now(UTC), Vault(TokenBox.parse(TOKEN_KEY))
    granted = Granted(
        "shpat_" + "0" * 32, Scopes.parse("read_orders"), now + timedelta(hours=9), "shprt_" + "0" * 32,
        now + timedelta(days=90),
    )  # fmt: skip
    conn = await asyncpg.connect(url)
    try:
        for shop in shops:
            await store.keep_install(conn, shop, Install(1, now, now))
            await store.keep_session(conn, vault.seal(shop, granted, generation=1, at=now))
    finally:
        await conn.close()


def _environment(url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": url, "SHOPIFY_API_KEY": CLIENT_ID, "SHOPIFY_API_SECRET": SECRET, "OPS_TOKEN": "bench",
        "SERVICE_KEY": SERVICE_KEY, "TOKEN_KEYS": TOKEN_KEY, "APP_URL": f"https://{SHOP}",
    }  # fmt: skip


def _result(figures: dict[str, list[Microseconds]]) -> Result:
    medians = {name: [percentile(took, 0.5) for took in rounds] for name, rounds in figures.items()}
    everything = {name: [one for took in rounds for one in took] for name, rounds in figures.items()}
    return Result(
        "sessions",
        "Session tokens and access tokens",
        ratios=(
            ratio(f"{GUARDED} ÷ {DECODED}", medians[GUARDED], medians[DECODED], most=True),
            ratio(f"{ASKED} ÷ {CACHED}", medians[ASKED], medians[CACHED]),
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
    )
