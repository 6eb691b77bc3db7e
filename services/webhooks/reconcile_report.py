"""What the ledger proves of a shop and a time. No I/O."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from services.webhooks.reconcile_plan import HOUR, Family, Span, hour_of

Json = dict[str, Any]


class Row(Protocol):
    """What is read of an asyncpg.Record."""

    def __getitem__(self, name: str, /) -> Any: ...


_STATE = ("shop", "installed", "checked_at", "due_at", "ended_at", "checking", "error")
_COUNTS = ("at_shopify", "arrived", "reconciled", "missing")
_HOUR = ("family", "hour", "until", *_COUNTS, "checked_at")
_LOST = ("family", "resource_id", "updated_at", "topic", "found_at", "message_id", "problem", "late_at")


class Verdict(StrEnum):
    """What can be said of the time that was asked for."""

    COMPLETE = "complete"  # nothing is missing, up to `proven_until`
    MISSING = "missing"  # something has not come and could not be fed
    UNPROVEN = "unproven"  # hours that should have been looked at were not
    TOO_EARLY = "too_early"  # nothing of it is old enough


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and by when an hour should have been looked at."""

    asked: Span
    now: datetime
    patience: timedelta  # after its end

    def window(self, listening_since: datetime) -> Span:
        """What can be answered of it: before the install nothing was sent."""
        return Span(max(self.asked.start, listening_since), min(self.asked.end, self.now))


def state(shop: Row) -> Json:
    """How it stands with the shop's comparisons, without what they found."""
    return {name: shop[name] for name in _STATE}


def report(
    question: Question,
    shop: Row,
    since: Mapping[str, datetime],
    hours: Sequence[Row],
    fed: Sequence[Row],
    families: Sequence[Family],
) -> Json:
    """The ledger's answer; `since` is by family, of those that may have begun later than their shop."""
    window = question.window(shop["since"])
    compared = {
        family.name: Span(max(window.start, since.get(family.name, window.start)), window.end)
        for family in families
        if family.name not in shop["denied"]
    }
    by_hour = {(row["family"], row["hour"]): row for row in hours}
    unproven = list(_unproven(question, compared, by_hour))
    late = _late(fed)
    until = min((_proven_until(mine, name, by_hour) for name, mine in compared.items()), default=window.start)
    return {
        **state(shop),
        "verdict": _verdict(window, until, hours, unproven),
        "since": window.start,
        "until": window.end,
        "listening_since": shop["since"],
        "proven_until": until,
        "families": [_summary(family, shop, hours, late) for family in families],
        "hours": [
            {**{name: row[name] for name in _HOUR}, "late": late[row["family"], row["hour"]]} for row in hours
        ],
        "unproven": unproven,
        "lost": [{name: row[name] for name in _LOST} for row in fed],
    }


def _verdict(window: Span, until: datetime, hours: Sequence[Row], unproven: Sequence[Json]) -> Verdict:
    if any(row["missing"] for row in hours):
        return Verdict.MISSING
    if unproven:
        return Verdict.UNPROVEN
    return Verdict.COMPLETE if until > window.start else Verdict.TOO_EARLY


def _unproven(
    question: Question, compared: Mapping[str, Span], by_hour: Mapping[tuple[str, datetime], Row]
) -> Iterator[Json]:
    """Hours that nobody has looked at to their end, although it was time."""
    for name, window in compared.items():
        for span in window.hours():
            hour = hour_of(span.start)
            row = by_hour.get((name, hour))
            was_time = hour + HOUR + question.patience <= question.now
            if was_time and (row is None or row["until"] < span.end):
                yield {"family": name, "hour": hour}


def _proven_until(window: Span, name: str, by_hour: Mapping[tuple[str, datetime], Row]) -> datetime:
    """Up to where one hour after the other was looked at and has nothing missing."""
    until = window.start
    for span in window.hours():
        row = by_hour.get((name, hour_of(span.start)))
        if row is None or row["missing"]:
            return until
        until = min(_until(row), span.end)
        if until < span.end:
            return until
    return until


def _until(row: Row) -> datetime:
    until: datetime = row["until"]
    return until


def _summary(family: Family, shop: Row, hours: Sequence[Row], late: Counter[tuple[str, datetime]]) -> Json:
    mine = [row for row in hours if row["family"] == family.name]
    denied = family.name in shop["denied"]
    return {
        "family": family.name,
        "compared": not denied,
        "why": f"the app does not have the scope {family.scope}, or Shopify denies it the data"
        if denied
        else None,
        **{name: sum(row[name] for row in mine) for name in _COUNTS},
        "late": sum(number for (name, _), number in late.items() if name == family.name),
    }


def _late(fed: Sequence[Row]) -> Counter[tuple[str, datetime]]:
    """Resources, as all that the ledger counts: those whose newest state was fed, and all of it has come after all."""
    newest: dict[tuple[str, int], list[Row]] = {}
    for row in fed:
        rows = newest.setdefault((row["family"], row["resource_id"]), [])
        if rows and rows[0]["updated_at"] < row["updated_at"]:
            rows.clear()
        rows.append(row)
    came = (rows[0] for rows in newest.values() if all(_came_late(row) for row in rows))
    return Counter((row["family"], hour_of(row["updated_at"])) for row in came)


def _came_late(row: Row) -> bool:
    """What changed again and came of itself has left that hour."""
    return row["late_at"] is not None and not row["overtaken"]
