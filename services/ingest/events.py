"""Judges one event of a request: what can be kept, with what is odd about it, or why not. No I/O."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson

from libs.common.contracts.pixel_frame import PixelEvent
from libs.common.shopify.pixel_marks import Mark
from services.ingest.bodies import Unreadable
from services.ingest.cleaning import Cleaner, clean_locations, suspicious

_LONGEST_WORD = 128  # of an id or a name
_KINDS = frozenset({"standard", "custom", "dom", "advanced-dom", "meta"})
_ENVELOPE = frozenset({"id", "name", "timestamp", "clientId", "seq", "type"})  # columns of their own
CUSTOM, STANDARD = "custom", "standard"
_INT8 = 1 << 63
_EARLIEST, _LATEST = 0, 253_402_300_799_000  # milliseconds; what Postgres and Python both call a time
_OUR_HOSTS = frozenset(
    {"checkout.shopify.com", "shop.app", "account.shopify.com", "shopify.com"}
)  # of every shop
_BOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|headless|lighthouse|phantomjs|puppeteer|selenium|playwright|python-requests|"
    r"curl/|wget/|httpclient|preview|facebookexternalhit|pingdom|uptime|monitor",
    re.IGNORECASE,
)


class Cause(StrEnum):
    """Every reason for which an event is not kept."""

    NOT_JSON = "not_json"
    NOT_AN_EVENT = "not_an_event"  # JSON, but no object
    NO_ID = "no_id"
    NO_NAME = "no_name"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_SHAPE = "bad_shape"  # a field of the envelope is of another type than it has to be
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TEXT_TOO_LONG = "text_too_long"
    TOO_MANY = "too_many"  # one event above what a request may carry


class Bad(Exception):
    """The event cannot be kept."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause, self.detail = cause, detail


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an event may be, and when it is odd."""

    event_bytes: int
    text_length: int
    skew_ms: int
    late_ms: int


Fits = Callable[[str, Any], bool]
"""Whether the data of a standard event, by its name, is what is documented."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges events of one request: of a shop, by a version of the pixel, at a moment."""

    bounds: Bounds
    fits: Fits
    hosts: Collection[str]
    version: str | None
    now_ms: int

    def judge(self, value: Any) -> PixelEvent:
        """The event as it is kept; raises `Bad`. Its locations are cleaned in place."""
        if type(value) is not dict:
            raise _no_event(value)
        get = value.get
        id_, named, occurred = identifier(get("id")), name(get("name")), moment(get("timestamp"))
        visitor, number = client(get("clientId")), seq(get("seq"))
        sort = kind(get("type"), custom="customData" in value)
        marks = self._marks(occurred, value) | self._misfit(named, sort, value)
        marks, content = self._content(value, marks)
        return PixelEvent(
            id_, named, sort, visitor, number, occurred, self.now_ms, int(marks), self.version, content
        )

    def skew(self, occurred: int) -> int:
        """The mark of a clock that is far from ours."""
        away = occurred - self.now_ms
        return 0 if -self.bounds.late_ms <= away <= self.bounds.skew_ms else Mark.CLOCK_SKEW

    def oddities(self, agent: str, host: str | None) -> int:
        """The marks of robots and of pages that are none of the shop's."""
        known = not host or host in self.hosts or host in _OUR_HOSTS
        return (Mark.BOT if is_bot(agent) else 0) | (0 if known else Mark.FOREIGN_HOST)

    def _marks(self, occurred: int, value: dict[str, Any]) -> int:
        marks = self.skew(occurred)
        context = value.get("context")
        if context is None:
            return marks
        if type(context) is not dict:
            raise Bad(Cause.BAD_SHAPE, "context has to be an object")
        marks |= self.oddities(_user_agent(context), _host(context))
        if clean_locations(context):
            marks |= Mark.CLEANED
        return marks

    def _misfit(self, name: str, kind: str, value: dict[str, Any]) -> int:
        data = value.get("data")
        if data is not None and type(data) is not dict and kind != CUSTOM:
            raise Bad(Cause.BAD_SHAPE, "data has to be an object")
        return 0 if kind != STANDARD or self.fits(name, data) else Mark.MISSHAPEN

    def _content(self, value: dict[str, Any], marks: int) -> tuple[int, bytes]:
        value = {key: inner for key, inner in value.items() if key not in _ENVELOPE}
        content = _written(value)
        if content is None or len(content) > self.bounds.text_length or suspicious(content):
            cleaner = Cleaner(self.bounds.text_length)
            content = _cleaned(cleaner, value)
            if cleaner.too_long:
                raise Bad(Cause.TEXT_TOO_LONG, f"a text of more than {self.bounds.text_length} characters")
            marks |= Mark.CLEANED if cleaner.changed else 0
        if len(content) > self.bounds.event_bytes:
            raise Bad(Cause.TOO_LARGE, f"more than {self.bounds.event_bytes} bytes")
        return marks, content


def _no_event(value: Any) -> Bad:
    if isinstance(value, Unreadable):
        return (
            Bad(Cause.TOO_DEEP, "nested too deeply")
            if value.deep
            else Bad(Cause.NOT_JSON, "this is not JSON")
        )
    return Bad(Cause.NOT_AN_EVENT, "an event is a JSON object")


def identifier(value: Any) -> str:
    """An event's id; raises `Bad`, as all of these do."""
    if type(value) is int:
        value = str(value)
    if type(value) is not str or not 0 < len(value) <= _LONGEST_WORD or not value.isprintable():
        raise Bad(Cause.NO_ID, f"id has to be a text of up to {_LONGEST_WORD} printable characters")
    return value


def name(value: Any) -> str:
    """An event's name."""
    if type(value) is not str or not 0 < len(value) <= _LONGEST_WORD or not value.isprintable():
        raise Bad(Cause.NO_NAME, f"name has to be a text of up to {_LONGEST_WORD} printable characters")
    return value


def client(value: Any) -> str | None:
    """The visitor, if one is named."""
    if value is None or value == "":
        return None
    if type(value) is not str or len(value) > _LONGEST_WORD or not value.isprintable():
        raise Bad(Cause.BAD_SHAPE, f"clientId has to be a text of up to {_LONGEST_WORD} printable characters")
    return value


def seq(value: Any) -> int | None:
    """The event's number, if it has one."""
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not -_INT8 <= value < _INT8:
        raise Bad(Cause.BAD_SHAPE, "seq has to be a whole number")
    return value


def kind(value: Any, *, custom: bool) -> str:
    """The event's type. Older pixels do not say it: what carries `customData` is a `custom` one then."""
    if type(value) is str and value in _KINDS:
        return value
    return CUSTOM if custom else STANDARD


def moment(value: Any) -> int:
    """An event's time, in milliseconds since 1970."""
    try:
        if type(value) is str:
            told = datetime.fromisoformat(value)
            stamp = int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)
        elif type(value) is int or type(value) is float:
            stamp = int(value)
        else:
            raise Bad(Cause.BAD_TIMESTAMP, "timestamp is missing")
    except (ValueError, OverflowError):
        raise Bad(Cause.BAD_TIMESTAMP, "timestamp has to be a time like 2026-11-21T08:00:00.000Z") from None
    if not _EARLIEST <= stamp <= _LATEST:
        raise Bad(Cause.BAD_TIMESTAMP, "timestamp is no time that a clock shows")
    return stamp


def _user_agent(context: dict[str, Any]) -> str:
    navigator = context.get("navigator")
    agent = navigator.get("userAgent") if type(navigator) is dict else None
    return agent if type(agent) is str else ""


@lru_cache(maxsize=8_192)
def is_bot(agent: str) -> bool:
    """Whether a browser calls itself a robot."""
    return _BOT.search(agent) is not None


def _host(context: dict[str, Any]) -> str | None:
    """The host of the event's page, in lower case and without a port."""
    for name in ("document", "window"):
        part = context.get(name)
        location = part.get("location") if type(part) is dict else None
        href = location.get("href") if type(location) is dict else None
        if type(href) is str and href and (host := host_of(href)):
            return host
    return None


@lru_cache(maxsize=8_192)
def host_of(href: str) -> str | None:
    """The host in an address, in lower case and without a port."""
    try:
        return urlsplit(href).hostname
    except ValueError:
        return "?"  # an address, but nobody's


def _written(value: dict[str, Any]) -> bytes | None:
    """The event's JSON; None where there is something in it that cannot be written as it is."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a character, a number beyond 64 bits, too deep
        return None


def _cleaned(cleaner: Cleaner, value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(cleaner.clean(value))
    except (TypeError, RecursionError) as error:
        words = str(error).lower()
        if "recursion" in words:
            raise Bad(Cause.TOO_DEEP, "nested too deeply") from error
        raise Bad(Cause.BAD_SHAPE, "a number that is too large") from error
