"""Calls shops from a process of its own, as fast as their points allow, until it is told to stop.

Prints `ready`, and at the end one line of JSON: how often each call ended how.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from libs.common import logs
from libs.common.clock import SystemClock
from libs.common.db import direct_connections, open_pool
from libs.common.service import start
from libs.common.shopify.admin.client import AdminClient
from libs.common.shopify.admin.config import AdminSettings
from libs.common.shopify.admin.errors import AdminError
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.open import open_admin
from tests.integration.admin_kit import QUERY, Reachable
from tests.integration.auth_kit import SERVICE_KEY

ROOT = Path(__file__).parents[2]


@dataclass
class Caller:
    """A process that calls."""

    process: asyncio.subprocess.Process

    async def stopped(self) -> dict[str, int]:
        """Ends it; what became of its calls."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.wait_for(self.process.communicate(), 30)
        found: dict[str, int] = orjson.loads(out)
        return found


@asynccontextmanager
async def calling(
    database: str, shopify: Reachable, *shops: str, at_once: int = 8, lane: ApiLane = ApiLane.ORDERS,
    query: str = QUERY, variables: Mapping[str, int] | None = None,
) -> AsyncIterator[Caller]:  # fmt: skip
    """A process with so many callers of each shop; killed at the end of the block, if it still runs."""
    told = orjson.dumps({
        "shops": shops, "at_once": at_once, "lane": lane, "query": query, "variables": variables or {},
    }).decode()  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.admin_process", told),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=_environment(database, shopify),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        yield Caller(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _environment(database: str, shopify: Reachable) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "DATABASE_URL": database, "SERVICE_KEY": SERVICE_KEY,
        "AUTH_URL": shopify.auth_url, "SANDBOX_STORE_URL": shopify.url, "API_WAITING_PER_SHOP": "64",
    }  # fmt: skip


async def _call(admin: AdminClient, shop: str, told: dict[str, Any], ended: Counter[str]) -> None:
    while True:
        try:
            await admin.graphql(shop, told["query"], told["variables"], lane=ApiLane(told["lane"]))
            ended["ok"] += 1
        except AdminError as error:
            ended[type(error).__name__] += 1


async def _run() -> None:
    settings, told, ended = AdminSettings.load(), orjson.loads(sys.argv[1]), Counter[str]()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        open_pool(settings) as pool,
        open_admin(settings, pool, direct_connections(settings), SystemClock(), caller="worker") as admin,
    ):
        print("ready", flush=True)  # noqa: T201 - to its parent
        tasks = [
            asyncio.create_task(_call(admin, shop, told, ended))
            for shop in told["shops"]
            for _ in range(told["at_once"])
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(orjson.dumps(ended).decode(), flush=True)  # noqa: T201 - to its parent


if __name__ == "__main__":
    logs.configure("ERROR", "console")
    start(_run())
