"""Reads and judges usual events at a glance: what they carry stays the bytes that came, and no object is made of it.

Most events have nothing odd about them, and making objects of their JSON only to write it again was most of what they
cost (docs/decisions/0012). A glance only ever says yes. What it is not sure of is judged closely (`Bare.whole`).
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import msgspec
from msgspec import Raw, Struct, json

from libs.common.contracts.pixel_frame import PixelEvent
from libs.common.shopify.pixel_glance import surely_fits
from services.ingest import bodies, events, metrics
from services.ingest.bodies import Batch
from services.ingest.cleaning import clean_url, suspicious
from services.ingest.events import CUSTOM, STANDARD, Bad, Judge

_DEEPEST = 250  # what orjson writes
_OPENING = ord("{")
_NOTHING, _NULL = Raw(), Raw(b"null")

# With digits made zeros, signs gone and E an e, an exponent of three digits or more reads 0e000. Texts may read like
# it too, so a pattern decides then. Postgres takes no such number, or makes it thousands of digits. [ counts as {.
_TRACES = bytes.maketrans(b"123456789.E[", b"0000000000e{")
_EXPONENT = re.compile(rb"[:,\[][ \t\r]*-?[0-9.]+[eE]")

Event = TypeVar("Event")


class Bare(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """An event whose `context` and `data` are still bytes."""

    id: str | None = None
    name: str | None = None
    timestamp: str | int | float | None = None
    client_id: str | None = None
    seq: int | float | None = None
    type: str | None = None
    context: Raw = _NOTHING
    data: Raw = _NOTHING
    custom_data: Raw = _NOTHING
    trimmed: Raw = _NOTHING

    def carried(self) -> list[tuple[str, Raw]]:
        """What is no column of its own, by its name."""
        named = (
            ("context", self.context),
            ("data", self.data),
            ("customData", self.custom_data),
            ("trimmed", self.trimmed),
        )
        return [(name, raw) for name, raw in named if raw is not _NOTHING]

    def whole(self) -> Any:
        """The event as `bodies.read` reads it, but without what is null of its envelope."""
        envelope = {
            "id": self.id, "name": self.name, "timestamp": self.timestamp, "clientId": self.client_id,
            "seq": self.seq, "type": self.type,
        }  # fmt: skip
        said = {name: value for name, value in envelope.items() if value is not None}
        return said | {name: bodies.one_value(bytes(raw).decode()) for name, raw in self.carried()}


class _Request(Struct, Generic[Event], gc=False, forbid_unknown_fields=True):
    events: list[Event]
    key: str | None = None
    version: str | None = None


class _Page(Struct, gc=False):
    href: str | None = None
    search: str | None = None
    hash: str | None = None
    pathname: str | None = None


class _Part(Struct, gc=False):
    location: _Page | None = None
    referrer: str | None = None


_NOWHERE = _Part()


class _Navigator(Struct, gc=False, rename="camel"):
    user_agent: str | None = None


class _Context(Struct, gc=False):
    document: _Part | None = None
    window: _Part | None = None
    navigator: _Navigator | None = None


_BARE_REQUEST, _BARE_ARRAY, _BARE = json.Decoder(_Request[Bare]), json.Decoder(list[Bare]), json.Decoder(Bare)
_REQUEST, _ARRAY, _CONTEXT = json.Decoder(_Request[Raw]), json.Decoder(list[Raw]), json.Decoder(_Context)
_UNSURE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read(body: bytes) -> Batch:
    """The events in a body, as `bodies.read` reads them, and bare where that is possible; never fails."""
    return _quickly(body) or bodies.read(body)


def _quickly(body: bytes) -> Batch | None:
    try:
        if not body.isascii():
            body.decode()  # what is skipped is not looked at otherwise
        return _all_bare(body) or _one_by_one(body)
    except _UNSURE:
        return None


def _all_bare(body: bytes) -> Batch | None:
    """None where one of the events says something that a bare one has no place for."""
    try:
        return _batch(_BARE_ARRAY.decode(body) if body.startswith(b"[") else _BARE_REQUEST.decode(body))
    except msgspec.ValidationError:
        return None


def _one_by_one(body: bytes) -> Batch:
    batch = _batch(_ARRAY.decode(body) if body.startswith(b"[") else _REQUEST.decode(body))
    return replace(batch, values=[_event(raw) for raw in batch.values])


def _batch(given: _Request[Any] | list[Any]) -> Batch:
    if isinstance(given, list):
        return Batch(given)
    return Batch(given.events, bodies.word(given.key), bodies.word(given.version))


def _event(raw: Raw) -> Any:
    try:
        return _BARE.decode(raw)
    except msgspec.ValidationError:
        return bodies.one_value(bytes(raw).decode())


@dataclass(frozen=True, slots=True)
class Glance:
    """Judges events of one request as `judge` does, without looking closer than it takes."""

    judge: Judge
    innocent: bool  # nothing in the whole body looks as if it had to be taken out

    @classmethod
    def at(cls, body: bytes, judge: Judge) -> Self:
        return cls(judge, not _is_suspect(body))

    def event(self, value: Any) -> PixelEvent:
        """The event as it is kept, after as close a look as it takes; raises `Bad`."""
        is_bare = type(value) is Bare
        if is_bare and (event := self.judged(value)) is not None:
            return event
        metrics.CLOSE_LOOKS.inc()
        return self.judge.judge(value.whole() if is_bare else value)

    def judged(self, bare: Bare) -> PixelEvent | None:
        """The event as it is kept; None where it takes a closer look."""
        try:
            return self._judged(bare)
        except (*_UNSURE, Bad):
            return None

    def _judged(self, bare: Bare) -> PixelEvent | None:
        judge, name, content = self.judge, events.name(bare.name), _content(bare)
        kind = events.kind(bare.type, custom=bare.custom_data is not _NOTHING)
        if not self._is_plain(content) or not _fits(name, kind, bare.data):
            return None
        occurred = events.moment(bare.timestamp)
        marks = judge.skew(occurred)
        if bare.context is not _NOTHING:
            context = _CONTEXT.decode(bare.context)
            if not _is_clean(context):
                return None
            marks |= _oddities(judge, context)
        return PixelEvent(
            events.identifier(bare.id), name, kind, events.client(bare.client_id), events.seq(bare.seq), occurred,
            judge.now_ms, marks, judge.version, content,
        )  # fmt: skip

    def _is_plain(self, content: bytes) -> bool:
        """Whether it may stand as it is: within all bounds, and with nothing in it to take out."""
        bounds, size = self.judge.bounds, len(content)
        if size > bounds.text_length or size > bounds.event_bytes:
            return False
        if not self.innocent and _is_suspect(content):
            return False
        traces = content.translate(_TRACES, b"+-")
        return traces.count(b"{") <= _DEEPEST and not (b"0e000" in traces and _EXPONENT.search(content))


def _is_suspect(text: bytes) -> bool:
    """Whether there may be something to take out, or half a character, NUL or anything else in disguise."""
    return b"\n" in text or (b"\\" in text and b"\\u" in text) or suspicious(text)


def _content(bare: Bare) -> bytes:
    if (
        bare.custom_data is _NOTHING
        and bare.trimmed is _NOTHING
        and bare.context is not _NOTHING is not bare.data
    ):
        return b'{"context":%b,"data":%b}' % (bare.context, bare.data)
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in bare.carried())


def _fits(name: str, kind: str, data: Raw) -> bool:
    if data is _NOTHING or kind == CUSTOM or data == _NULL:
        return True
    return memoryview(data)[0] == _OPENING and (kind != STANDARD or surely_fits(name, data))


def _is_clean(context: _Context) -> bool:
    document, window = context.document or _NOWHERE, context.window or _NOWHERE
    here, there = document.location, window.location
    return (
        _says_nothing(document.referrer)
        and _says_nothing(window.referrer)
        and (here is None or _is_clean_page(here))
        and (there is None or there == here or _is_clean_page(there))
    )


def _is_clean_page(page: _Page) -> bool:
    return (
        _says_nothing(page.href)
        and _says_nothing(page.search)
        and _says_nothing(page.hash)
        and _says_nothing(page.pathname)
    )


def _says_nothing(url: str | None) -> bool:
    """Whether an address tells nothing that it should not."""
    return not url or clean_url(url) == url


def _oddities(judge: Judge, context: _Context) -> int:
    agent = context.navigator.user_agent if context.navigator else None
    return judge.oddities(agent or "", _host(context))


def _host(context: _Context) -> str | None:
    for part in (context.document, context.window):
        href = part.location.href if part and part.location else None
        if href and (host := events.host_of(href)):
            return host
    return None
