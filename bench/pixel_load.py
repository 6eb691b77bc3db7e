"""Pixel events over HTTP until they are rows, and the same rows by one plain statement."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import asyncpg

from bench.load import LoadFailed, find_wrk
from bench.pixel_events import SHOP, batch, contents

_SCRIPT = Path(__file__).with_name("pixels.lua")
_ROWS_AT_ONCE = 2_000
_PATIENCE_SECONDS = 600.0
_runs = count(1)

TABLE = """
CREATE SCHEMA IF NOT EXISTS plain;
CREATE TABLE IF NOT EXISTS plain.events (
    shop text, event_id text, name text, client_id text, seq bigint, occurred_at timestamptz, received_at timestamptz,
    content jsonb, PRIMARY KEY (shop, event_id)
);
"""
INSERT = """
INSERT INTO plain.events SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[], $8::jsonb[]
) ON CONFLICT (shop, event_id) DO NOTHING
"""
STORED = "SELECT count(*) FROM worker.pixel_events"
WAITING = "SELECT count(*) FROM (SELECT FROM ingest.outbox LIMIT 1) AS found"


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of some seconds of load: events a second from the first request to the last row."""

    rate: float
    accepted: float  # events a second that were answered with 204
    rows: int = 0
    p50: float = 0.0
    p99: float = 0.0


class Pixels:
    """Batches of events that are sent until the time is over, and counted when all of them are rows."""

    def __init__(self, folder: Path, database: asyncpg.Connection, key: str) -> None:
        self._wrk, self._folder, self._database, self._key = find_wrk(), folder, database, key

    async def sent_to(
        self, port: int, *, events: int, seconds: float, connections: int, diverse: bool = False
    ) -> Stored:
        """Raises `LoadFailed` unless every request was answered with 204 and each of its events is a row."""
        file = self._folder / f"batch-{events}"
        file.write_bytes(batch(events, diverse=diverse))
        before, began = await self._database.fetchval(STORED), time.monotonic()
        said = await self._load(port, file, seconds, connections)
        sent = said["requests"] * events
        rows, took = await self._all_stored(before + sent) - before, time.monotonic() - began
        accepted = sent / said["microseconds"] * 1e6
        return Stored(rows / took, accepted, rows, said["p50"] / 1e3, said["p99"] / 1e3)

    async def _load(self, port: int, file: Path, seconds: float, connections: int) -> dict[str, int]:
        process = await asyncio.create_subprocess_exec(
            self._wrk, "-t1", "--timeout", "30s", f"-c{connections}", f"-d{max(1, round(seconds))}", "-s", str(_SCRIPT),
            f"http://127.0.0.1:{port}", "--", f"{os.getpid()}-{next(_runs)}", str(file), self._key,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, complaint = await process.communicate()
        if process.returncode:
            raise LoadFailed(complaint.decode())
        said: dict[str, int] = json.loads(output.decode().splitlines()[-1])
        if said["refused"] or said["broken"]:
            raise LoadFailed(f"{said['refused']} requests were refused, {said['broken']} broke off")
        return said

    async def _all_stored(self, wanted: int) -> int:
        """How many rows there are then: what wrk cut off at its end may be stored besides."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while await self._database.fetchval(WAITING):
            if time.monotonic() > give_up:
                raise LoadFailed("events are still on their way")
            await asyncio.sleep(0.02)
        stored: int = await self._database.fetchval(STORED)
        if stored < wanted:
            raise LoadFailed(f"{wanted - stored} accepted events are no rows")
        return stored


async def plain(url: str, seconds: float) -> Stored:
    """One connection, one statement for each thousands of rows, on a table with nothing but its key."""
    database = await asyncpg.connect(url)
    try:
        await database.execute(TABLE)
        source, rows, began = contents(), 0, time.monotonic()
        run = f"{os.getpid()}-{next(_runs)}"
        while time.monotonic() - began < seconds:
            await database.execute(INSERT, *_columns(source, f"sh-{run}-{rows}", _ROWS_AT_ONCE))
            rows += _ROWS_AT_ONCE
        rate = rows / (time.monotonic() - began)
        return Stored(rate, rate, rows)
    finally:
        await database.close()


def _columns(source: Iterator[tuple[str, bytes]], prefix: str, rows: int) -> list[list[object]]:
    now, names, texts = datetime.now(UTC), list[object](), list[object]()
    for _ in range(rows):
        name, content = next(source)
        names.append(name)
        texts.append(content.decode())
    return [
        [SHOP] * rows, [f"{prefix}-{n}" for n in range(rows)], names, ["visitor"] * rows, list(range(rows)),
        [now] * rows, [now] * rows, texts,
    ]  # fmt: skip
