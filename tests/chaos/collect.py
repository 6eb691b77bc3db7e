"""Gathers the history of a run, when it is over."""

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import asyncpg
import orjson

from tests.chaos.history import Effect, Ended, Failed, History, Stored, Trouble
from tests.chaos.runs import read_runs
from tests.chaos.stack import Stack
from tests.chaos.topics import LIMITS, LINK_TYPE
from tests.chaos.world import World

EFFECTS = """
SELECT message_id, handler, root, extract(epoch FROM at)::float8 AS at FROM worker.chaos_effects ORDER BY at
"""
STORED_WEBHOOKS = "SELECT id, type, shop, key, body FROM webhooks.messages"
STORED_WORKER = "SELECT id, type, shop, key, body FROM worker.messages"
ENDED = """
SELECT message_id, type, outcome, attempts, route, log, extract(epoch FROM finished_at)::float8 AS at
FROM worker.history ORDER BY finished_at
"""
FAILED = "SELECT message_id, reason, error, attempts FROM worker.failed"
LEFT = """
SELECT id, 'outbox of webhooks, ' || coalesce(holder, 'free') || ', until ' || leased_until AS place
FROM webhooks.outbox
UNION ALL
SELECT id, 'outbox of worker, ' || coalesce(holder, 'free') || ', until ' || leased_until FROM worker.outbox
UNION ALL SELECT message_id, 'scheduled: ' || reason FROM worker.scheduled
"""
_LAST_WORDS = 400  # characters
_CRASH = re.compile(r"Traceback|Fatal Python error|Exception ignored|shopbus \w+: ")


async def collect(world: World) -> History:
    """All that is known of the world since it was opened. Postgres has to be there."""
    conn = await asyncpg.connect(world.database, timeout=10, command_timeout=60)
    try:
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            return await _collect(conn, world)
    finally:
        await conn.close()


async def _collect(conn: asyncpg.Connection, world: World) -> History:
    offset = time.time() - time.monotonic()  # this machine's wall clock, which is Postgres' too
    return History(
        requests=tuple(sorted(world.traffic.requests, key=lambda request: request.invoked)),
        stored=(
            *(_stored("webhooks", row) for row in await conn.fetch(STORED_WEBHOOKS)),
            *(_stored("worker", row) for row in await conn.fetch(STORED_WORKER)),
        ),
        effects=tuple(
            Effect(row["message_id"], row["handler"], row["root"], row["at"] - offset)
            for row in await conn.fetch(EFFECTS)
        ),
        ended=tuple(_ended(row, offset) for row in await conn.fetch(ENDED)),
        failed=tuple(
            Failed(str(row["message_id"]), row["reason"], row["error"], row["attempts"])
            for row in await conn.fetch(FAILED)
        ),
        runs=tuple(read_runs(world.folder)),
        sightings=tuple(world.watcher.sightings),
        troubles=(*world.stack.troubles, *world.traffic.troubles, *complaints(world.stack)),
        left={str(row["id"]): row["place"] or "free" for row in await conn.fetch(LEFT)},
        limits=LIMITS,
    )


def _stored(source: str, row: asyncpg.Record) -> Stored:
    root = orjson.loads(row["body"])["root"] if row["type"] == LINK_TYPE else None
    return Stored(str(row["id"]), source, row["type"], row["shop"], row["key"], root)


def _ended(row: asyncpg.Record, offset: float) -> Ended:
    errors = tuple(entry["error"] or "" for entry in orjson.loads(row["log"] or "[]"))
    return Ended(
        str(row["message_id"]),
        row["type"],
        row["outcome"],
        row["attempts"],
        row["route"],
        errors,
        row["at"] - offset,
    )


def complaints(stack: Stack) -> Iterator[Trouble]:
    """What the processes logged with a traceback, and what Python itself wrote about a crash."""
    for name in stack.names:
        for line in _lines(stack.log(name)):
            if said := _complaint(line):
                yield Trouble(name, said)


def _lines(log: Path) -> Iterable[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def _complaint(line: str) -> str | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:  # not by our logging
        return line[:_LAST_WORDS] if _CRASH.match(line) else None
    if not isinstance(entry, dict) or "exception" not in entry:
        return None
    return f"{entry['event']} {entry['exception'][-_LAST_WORDS:]}"
