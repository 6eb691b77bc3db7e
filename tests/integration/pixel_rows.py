"""Pixel events as they stand in the worker's table, put there without a pixel."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import orjson

from libs.common.db import Connection
from services.worker.handlers.pixels import STORE_EVENTS

SHOP = "first.myshopify.com"
NOW = datetime.now(UTC).replace(microsecond=0)
_numbers = count(1)


@dataclass(frozen=True)
class Row:
    """One event; what a test does not name is as usual."""

    id: str = field(default_factory=lambda: f"e{next(_numbers):06}")
    name: str = "page_viewed"
    kind: str = "standard"
    client: str | None = "visitor"
    seq: int | None = None
    occurred: datetime = NOW
    received: datetime = NOW
    marks: int = 0
    version: str | None = None
    shop: str = SHOP
    content: Any = field(default_factory=dict)


async def put(database: Connection, rows: Sequence[Row]) -> None:
    """Stores rows by the handler's own statement."""
    columns = [list(column) for column in zip(*(asdict(row).values() for row in rows), strict=True)]
    for number in (5, 6):
        columns[number] = [int(moment.timestamp() * 1000) for moment in columns[number]]
    columns[7] = [
        int(marks) for marks in columns[7]
    ]  # a flag is an iterable too, which asyncpg takes for an array
    columns[-1] = [orjson.dumps(content).decode() for content in columns[-1]]
    await database.execute(STORE_EVENTS, *columns)
