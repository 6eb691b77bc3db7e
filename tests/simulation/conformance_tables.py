"""What both servers' tables say, without what no two servers agree on: clock_timestamp(), and the order of rows."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg

from libs.common.contracts.topology import CONSUMERS, SOURCES
from tests.simulation.database import Database

TABLES = (
    *(f"{source}.{name}" for source in SOURCES for name in ("messages", "outbox", "duplicates")),
    *(
        f"{name}.{table}"
        for name in CONSUMERS
        for table in ("scheduled", "failed", "history", "schedules", "slots")
    ),
    "worker.effects",
)
_BY_THE_CLOCK = ("finished_at", "failed_at")

Rows = list[dict[str, Any]]


async def empty(conn: asyncpg.Connection) -> None:
    for table in TABLES:
        await conn.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours


async def real_rows(conn: asyncpg.Connection, table: str) -> Rows:
    return _said(map(dict, await conn.fetch(f"SELECT * FROM {table}")))  # noqa: S608 - a name of ours


def model_rows(database: Database, table: str) -> Rows:
    return _said(database.tables[table])


def _said(rows: Iterable[Mapping[str, Any]]) -> Rows:
    said = [
        {name: _value(name, value) for name, value in row.items() if name not in _BY_THE_CLOCK}
        for row in rows
    ]
    return sorted(said, key=repr)


def _value(name: str, value: Any) -> Any:
    if name not in ("headers", "log"):
        return value
    parsed = json.loads(value) if isinstance(value, str) else value
    return (
        parsed if name == "headers" or parsed is None else [{**one, "finished_at": "then"} for one in parsed]
    )
