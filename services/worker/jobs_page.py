"""How jobs look from outside, and how the walks of several places become one page. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import orjson

from libs.common.contracts.envelope import origin_of
from libs.common.ids import made_at

Json = dict[str, Any]


class Row(Protocol):
    """What is read of an asyncpg.Record."""

    def __getitem__(self, name: str, /) -> Any: ...


_SHORT = (
    *("id", "type", "shop", "source", "lane", "status", "outcome"),
    *("reason", "tries", "finished_at", "next_attempt_at"),
)
_BROKER = "rabbitmq"


class Walked(Protocol):
    """Rows of one walk, newest first, and the id down to which they are all there are; None is all the way."""

    @property
    def rows(self) -> Sequence[Row]: ...

    @property
    def floor(self) -> UUID | None: ...


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first, and where the next page begins, if there is one."""

    rows: list[Row]
    next: UUID | None


def one_page(walks: Iterable[Walked], limit: int) -> Page:
    """The newest rows of all walks, as far down as every one of them has looked."""
    walks = list(walks)
    floors = [walk.floor for walk in walks if walk.floor is not None]
    covered = max(floors, default=None)
    rows = sorted((row for walk in walks for row in walk.rows), key=_id, reverse=True)
    known = [row for row in rows if covered is None or row["id"] >= covered]
    if len(known) > limit:
        return Page(_placed(known[:limit]), known[limit - 1]["id"])
    return Page(_placed(known), covered)


def _id(row: Row) -> UUID:
    identifier: UUID = row["id"]
    return identifier


def _placed(rows: Iterable[Row]) -> list[Row]:
    """Without messages that were never this consumer's."""
    return [row for row in rows if row["status"] is not None]


def short_form(row: Row) -> Json:
    """A job in a list."""
    return {**{name: row[name] for name in _SHORT}, "created_at": made_at(row["id"])}


def full_form(row: Row) -> Json:
    """A job with its story."""
    attempts = [_attempt(entry) for entry in orjson.loads(row["log"] or "[]")]
    error = next((attempt["error"] for attempt in reversed(attempts) if attempt["error"]), None)
    if row["status"] == "completed" and row["outcome"] != "cancelled":  # that one's log has its last attempt
        attempts.append(_last_attempt(row))
        error = None
    return {
        **short_form(row),
        "handler": row["handler"],
        "error": row["error"] or error,
        "attempts": attempts,
        "correlation_id": row["correlation_id"],
        "subject": row["subject"],
        "origin": origin_of(row["dataschema"]) or None,
        "route": _route(row, attempts),
    }


def _attempt(entry: Json) -> Json:
    """As it was logged; times were written by two writers, so they are read."""
    return {
        "started_at": datetime.fromisoformat(entry["started_at"]),
        "finished_at": datetime.fromisoformat(entry["finished_at"]),
        "error": entry["error"],
        "route": entry["route"],
        "outcome": entry.get("outcome"),
    }


def _last_attempt(row: Row) -> Json:
    return {
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "error": None,
        "route": row["route"],
        "outcome": row["outcome"],
    }


def _route(row: Row, attempts: Sequence[Json]) -> str | None:
    """The route of the last attempt, or the one the message is on."""
    if row["status"] == "queued":
        return _BROKER
    return attempts[-1]["route"] if attempts else None
