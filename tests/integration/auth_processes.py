"""Auth as processes of its own, and one that kills itself at a point of its work."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
from aiohttp import ClientConnectionError, ClientSession, CookieJar

from libs.common.service import main, serve
from services.auth import app, upkeep
from services.auth.config import Settings
from services.cli import token_refresh, token_work
from tests.integration.auth_kit import APP_URL, OPS, SERVICE_KEY, TOKEN_KEY, Running, auth_settings
from tests.integration.mortal import DIES_AT, ROOT, chosen_faults
from tests.integration.shopify_stand_in import KEY, SECRET, StandIn
from tests.servers.ports import free_port
from tests.waiting import poll


@dataclass
class Process:
    """A running auth process and a client for it."""

    process: asyncio.subprocess.Process
    client: ClientSession
    log: Path

    async def died(self) -> bool:
        """Waits for its end; whether that was SIGKILL."""
        return await asyncio.wait_for(self.process.wait(), 30) == -signal.SIGKILL


def environment(database: str, shopify: StandIn, port: int) -> dict[str, str]:
    """All that a process needs, and nothing of the developer's."""
    return {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": database, "PORT": str(port),
        "SHOPIFY_API_KEY": KEY, "SHOPIFY_API_SECRET": SECRET, "APP_URL": APP_URL, "TOKEN_KEYS": TOKEN_KEY,
        "SHOPIFY_SCOPES": "read_orders,read_products", "SERVICE_KEY": SERVICE_KEY, "OPS_TOKEN": OPS,
        "SANDBOX_STORE_URL": shopify.url, "SHUTDOWN_SECONDS": "1", "LOG_LEVEL": "DEBUG",
    }  # fmt: skip


@asynccontextmanager
async def process(
    database: str, shopify: StandIn, folder: Path, *, dies_at: str = ""
) -> AsyncIterator[Process]:
    """A process that is ready; it is killed at the end of the block."""
    port = free_port()
    log = folder / f"auth-{port}.log"
    with log.open("wb") as out:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.auth_processes" if dies_at else "services.auth"),
            env=environment(database, shopify, port) | {DIES_AT: dies_at}, stdout=out, stderr=out, cwd=folder,
        )  # fmt: skip
    async with ClientSession(f"http://127.0.0.1:{port}", cookie_jar=CookieJar(unsafe=True)) as client:
        try:
            await poll(lambda: _ready(started, client), within=60)
            yield Process(started, client, log)
        finally:
            if started.returncode is None:
                started.kill()
                await started.wait()


def seen_through(process: Process, database: str, shopify: StandIn, pool: asyncpg.Pool) -> Running:
    """Auth, asked through one of its processes."""
    return Running(process.client, shopify, pool, auth_settings(database, shopify.url))


async def rotating(database: str, shopify: StandIn, folder: Path, keys: str, *, dies_at: str = "") -> int:
    """A process that seals everything anew; returns how it ended."""
    return await _command("rotate", environment(database, shopify, 0) | {"TOKEN_KEYS": keys}, folder, dies_at)


async def refreshing(database: str, shopify: StandIn, folder: Path, *, dies_at: str = "") -> int:
    """A process that renews what another client secret made; returns how it ended."""
    return await _command("refresh", environment(database, shopify, 0), folder, dies_at)


async def _command(name: str, env: dict[str, str], folder: Path, dies_at: str) -> int:
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.auth_processes", name),
        env=env | {DIES_AT: dies_at},
        cwd=folder,
    )
    return await asyncio.wait_for(started.wait(), 60)


async def _ready(started: asyncio.subprocess.Process, client: ClientSession) -> bool:
    assert started.returncode is None, "the process ended while it started"
    try:
        async with client.get("/readyz") as answer:
            return answer.status == 200
    except ClientConnectionError:
        return False


async def _serve(settings: Settings) -> None:
    async with app.open_service(settings, faults=chosen_faults()) as service:
        await serve([service], settings)


async def _rotate(settings: Settings) -> None:
    async with token_work.opened(settings) as tools:
        await upkeep.reseal(tools.pool, tools.tokens.vault, tools.timeout, lambda: None, chosen_faults())


async def _refresh(settings: Settings) -> None:
    async with (
        token_work.opened(settings) as tools,
        app.open_tokens(settings, tools.pool, tools.producer, tools.clock, faults=chosen_faults()) as tokens,
    ):
        await token_refresh.refresh(replace(tools, tokens=tokens), rate=100)


if __name__ == "__main__":
    work = {"rotate": _rotate, "refresh": _refresh}
    main("auth", Settings, work[sys.argv[1]] if sys.argv[1:] else _serve)
