"""The service as its own process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession

from tests.servers.ports import free_port
from tests.waiting import poll

SECRETS = {"SHOPIFY_API_SECRET": "the-app-secret", "OPS_TOKEN": "the-ops-token", "SERVICE_KEY": "k" * 32}
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.webhooks` with these settings and no others."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.webhooks"),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.communicate()


async def test_missing_secrets_stop_the_start_with_one_line_that_names_them() -> None:
    async with process(DATABASE_URL="postgresql://nobody:hush@127.0.0.1:1/none") as started:
        _, errors = await started.communicate()
    (line,) = errors.decode().splitlines()
    assert "SHOPIFY_API_SECRET" in line
    assert "OPS_TOKEN" in line
    assert "hush" not in line
    assert started.returncode == 1


async def test_a_missing_database_url_stops_the_start_with_one_line() -> None:
    async with process(**SECRETS) as started:
        _, errors = await started.communicate()
    (line,) = errors.decode().splitlines()
    assert "DATABASE_URL" in line


async def test_it_serves_until_it_is_told_to_stop(database: str) -> None:
    port = free_port()
    async with process(DATABASE_URL=database, PORT=str(port), **SECRETS) as started:
        async with ClientSession(f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                try:
                    async with client.get("/readyz") as response:
                        return response.status == 200
                except OSError:
                    return False

            await poll(ready, within=30)
            async with client.post("/webhooks/shopify") as response:
                assert response.status == 400
        started.send_signal(signal.SIGTERM)
        output, errors = await started.communicate()
    assert (started.returncode, errors) == (0, b"")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["route"] for line in lines if line["logger"] == "http"] == ["/webhooks/shopify"]
    for secret in (*SECRETS.values(), database):
        assert secret.encode() not in output


async def test_a_taken_port_is_one_line(database: str) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken, process(DATABASE_URL=database, PORT=str(port), **SECRETS) as started:
        _, errors = await started.communicate()
    assert errors.decode() == f"shopbus webhooks: port {port} is taken by another program; set PORT=…\n"
