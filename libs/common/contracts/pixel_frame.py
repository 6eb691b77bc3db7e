"""The body of a `pixel.frame`: many events of one shop in one message.

A line of JSON that holds the events' envelopes column by column, then each event's own JSON on a line of its own, all
of it deflated. Whoever stores events hands the columns on as they are, and nobody parses an event a second time.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from libs.common.errors import ShopbusError

CONTENT_TYPE = "application/vnd.shopbus.pixel-frame"
TYPE = "pixel.frame"

_LEVEL = 1  # a tenth of the size for a few microseconds an event, which storing it whole would cost several times over
_LARGEST = 64 * 1024 * 1024  # of a frame inflated; what ingest makes is far below


class InvalidFrame(ShopbusError):
    """The body is no frame of pixel events; no retry will mend it."""


class PixelEvent(NamedTuple):
    """One event as it travels. `content` is the JSON of all that the columns beside it do not hold."""

    id: str
    name: str
    kind: str  # standard, custom, dom, advanced-dom or meta
    client_id: str | None
    seq: int | None
    occurred_ms: int  # by the visitor's clock, in milliseconds since 1970
    received_ms: int
    marks: int  # what is odd about it: `libs.common.shopify.pixel_marks`
    version: str | None  # of the pixel that sent it
    content: bytes


COLUMNS = PixelEvent._fields[:-1]


@dataclass(frozen=True, slots=True)
class Frame:
    """The columns of some events, each as long as the others."""

    columns: Sequence[Sequence[object]]  # in the order of `COLUMNS`
    contents: Sequence[str]

    def __len__(self) -> int:
        return len(self.contents)


def encode(events: Sequence[PixelEvent]) -> bytes:
    """The events as a frame's body; none is no frame."""
    *columns, contents = zip(*events, strict=True)
    head = orjson.dumps(dict(zip(COLUMNS, columns, strict=True)))
    return zlib.compress(b"\n".join((head, *contents)), _LEVEL)


def decode(body: bytes) -> Frame:
    """The frame in a body; raises `InvalidFrame`."""
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(body, _LARGEST)
        head, *contents = text.decode().split("\n")
        given = orjson.loads(head)
        columns = [given[name] for name in COLUMNS]
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise InvalidFrame(f"not a frame of pixel events: {type(error).__name__}") from error
    if not inflater.eof or any(len(column) != len(contents) for column in columns):
        raise InvalidFrame("the frame of pixel events is not whole")
    return Frame(columns, contents)
