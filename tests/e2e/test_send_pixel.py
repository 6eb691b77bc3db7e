"""`shopbus send pixel` against the whole app, as a newcomer types it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.cli.run import SANDBOX_SCOPES
from tests.e2e.stores import OPS_TOKEN, Stores, open_stores
from tests.session_tokens import CLIENT_ID, SECRET
from tests.waiting import poll

ROOT = Path(__file__).parents[2]
ROWS = """
SELECT shop, event_id, name, client_id, seq, marks, version FROM worker.pixel_events ORDER BY shop, client_id, seq
"""
MISSHAPEN_OR_FOREIGN = 4 | 16


async def send(stores: Stores, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Types the command on the machine of the run; its exit code and summary."""
    secrets = {"SHOPIFY_API_KEY": CLIENT_ID, "SHOPIFY_API_SECRET": SECRET, "OPS_TOKEN": OPS_TOKEN}
    command = [
        sys.executable,
        "-m",
        "services.cli",
        "send",
        "pixel",
        "--json",
        "--url",
        stores.url,
        *arguments,
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **secrets}
    done = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, check=False, timeout=60
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


async def test_a_newcomers_events_are_rows_of_shops_that_nobody_had_installed(
    database: str, tmp_path: Path
) -> None:
    async with open_stores(database, tmp_path, scopes=SANDBOX_SCOPES, whole=True) as stores:
        code, summary = await send(
            stores, "--count", "130", "--shops", "2", "--batch", "20", "--broken", "0.1", "--seed", "5"
        )
        assert (code, summary["sent"], summary["requests"]["sent"]) == (0, 130, 7)
        assert summary["quarantined"] > 0
        assert summary["accepted"] == 130 - summary["quarantined"]

        async def stored() -> bool:
            return len(await stores.pool.fetch(ROWS)) >= int(summary["accepted"])

        await poll(stored, within=30)
        rows = await stores.pool.fetch(ROWS)
        assert len({row["event_id"] for row in rows}) == summary["accepted"]
        assert {row["shop"] for row in rows} == set(summary["shops"])
        assert {row["version"] for row in rows} == {"sandbox"}
        assert not [row for row in rows if row["marks"] & MISSHAPEN_OR_FOREIGN]
        assert {"page_viewed", "product_viewed", "collection_viewed"} <= {row["name"] for row in rows}

        code, again = await send(stores, "--count", "5", "--shops", "2", "--batch", "5")
        assert (code, again["accepted"]) == (0, 5)
        assert await stores.pool.fetchval("SELECT count(*) FROM ingest.extension_keys") == 2

        code, refused = await send(stores, "--count", "5", "--key", "sbp_" + "0" * 32)
        assert (code, refused["refused"], refused["requests"]["rejected"]) == (1, 5, {"403": 1})
