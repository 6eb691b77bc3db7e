"""Shopify's search syntax, as far as the sandbox takes it: `updated_at:>='2026-11-01' AND status:open`."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from libs.common.errors import ShopbusError

LARGEST = (1 << 63) - 1


class BadSearch(ShopbusError):
    """A search that Shopify's syntax does not allow."""


@dataclass(frozen=True, slots=True)
class Range:
    """Both ends belong to it."""

    low: int = 0
    high: int = LARGEST

    def narrowed(self, comparison: str, value: int) -> "Range":
        """What is left of it under a comparison."""
        match comparison:
            case ">":
                return replace(self, low=max(self.low, value + 1))
            case ">=":
                return replace(self, low=max(self.low, value))
            case "<":
                return replace(self, high=min(self.high, value - 1))
            case "<=":
                return replace(self, high=min(self.high, value))
        return Range(max(self.low, value), min(self.high, value))


@dataclass(frozen=True, slots=True)
class Search:
    """What a search asks for. Times are seconds since 1970."""

    id: Range = Range()
    created: Range = Range()
    updated: Range = Range()
    status: str | None = None
    payment: str | None = None
    unknown: tuple[str, ...] = field(default=())  # fields that do not exist: Shopify ignores them and says so


# name : comparison value, where a value is bare or in quotes
_TERM = re.compile(
    r"\s*(?:AND\s+)?(?P<name>[a-z_]+):(?P<comparison><=|>=|<|>|)(?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|(?P<bare>[^\s'\"()]+))",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_search(text: str | None) -> Search:
    """Reads a search; raises `BadSearch` for what is none."""
    found, place, text = Search(), 0, (text or "").rstrip()
    while place < len(text):
        term = _TERM.match(text, place)
        if term is None:
            raise BadSearch(f"the search cannot be read from here on: {text[place : place + 40]!r}")
        value = next(part for part in term.group("single", "double", "bare") if part is not None)
        found = _with(found, term["name"], term["comparison"], value)
        place = term.end()
    return found


def _with(found: Search, name: str, comparison: str, value: str) -> Search:
    match name, comparison:
        case "id", _:
            return replace(found, id=found.id.narrowed(comparison, _number(value)))
        case "created_at", _:
            return replace(found, created=_in_time(found.created, comparison, value))
        case "updated_at", _:
            return replace(found, updated=_in_time(found.updated, comparison, value))
        case "status", "":
            return replace(found, status=_word(value))
        case "financial_status", "":
            return replace(found, payment=_word(value))
    return replace(found, unknown=(*found.unknown, name))


def _word(value: str) -> str | None:
    return None if value.lower() == "any" else value.lower()


def _number(value: str) -> int:
    try:
        return int(value.rpartition("/")[2])  # a global id is taken too
    except ValueError:
        raise BadSearch(f"{value!r} is no id") from None


def _in_time(known: Range, comparison: str, value: str) -> Range:
    if not comparison and _DATE.fullmatch(value):  # any time of that day
        return known.narrowed(">=", _seconds(value, ">=")).narrowed("<=", _seconds(value, "<="))
    return known.narrowed(comparison, _seconds(value, comparison))


def _seconds(value: str, comparison: str) -> int:
    """A time or a day. Resources have whole seconds: a fraction is rounded to what leaves the meaning."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise BadSearch(f"{value!r} is no time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.timestamp() // 1)
    if comparison in {">=", "<"} and moment.microsecond:
        return whole + 1
    if comparison in {">", "<="} and _DATE.fullmatch(value):
        return whole + 86_399  # after a day, or up to its end
    return whole
