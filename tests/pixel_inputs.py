"""Bodies of requests with pixel events, sound and broken, and what has to be true of any of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson

from libs.common.contracts.pixel_frame import PixelEvent
from libs.common.shopify.pixel_check import fits
from services.ingest import bodies, glance
from services.ingest.events import Bad, Bounds, Judge
from services.ingest.glance import Glance
from services.sandbox.visits import Shopper, goods

SHOP = "sandbox-001.myshopify.com"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
JUDGE = Judge(
    Bounds(event_bytes=9_000, text_length=6_000, skew_ms=3_600_000, late_ms=172_800_000),
    fits, frozenset({SHOP}), "1.0.0", int(NOW.timestamp() * 1000),
)  # fmt: skip
SHELF = goods(SHOP, 1, NOW)

Verdict = tuple[Any, ...]

# What breaks readers: halves of characters, numbers without an end, what closes too early or never.
_SPLINTERS = (
    b'"', b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\n", b"1e999", b"1e400", b"-0", b"[", b"]", b"{", b"}", b",", b":",
    b"null", b"<b>", b"a@b.example", b"?token=1", b"%40", b"[" * 300, b'"context":', b'"data":1,', b"\xef\xbb\xbf",
)  # fmt: skip


def visits(seed: int, count: int = 40) -> list[dict[str, Any]]:
    """What one shopper does."""
    return Shopper(SHOP, SHELF, Random(seed)).events(count, NOW)


def closely(body: bytes) -> list[Verdict]:
    """What becomes of each event by a close look."""
    return [_verdict(JUDGE.judge, value) for value in bodies.read(body).values]


def at_a_glance(body: bytes) -> list[Verdict]:
    """What becomes of each event as ingest judges it."""
    look = Glance.at(body, JUDGE)
    return [_verdict(look.event, value) for value in glance.read(body).values]


def one_input(body: bytes) -> None:
    """Any bytes are read and judged without a failure, and in both ways alike."""
    assert at_a_glance(body) == closely(body), body


def broken(draw: Random) -> bytes:
    """A sound body in one of the usual forms, with some of its bytes changed."""
    events = visits(draw.randrange(1_000), draw.randrange(1, 5))
    whole: Any = events if draw.random() < 0.5 else {"key": "sbp_1", "version": "1", "events": events}
    body = bytearray(orjson.dumps(whole))
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(body))
        body[at : at + draw.choice((0, 1, 1, 3, 40))] = draw.choice(_SPLINTERS)
    return bytes(body)


def _verdict(judge: Callable[[Any], PixelEvent], value: Any) -> Verdict:
    try:
        event = judge(value)
    except Bad as bad:
        return bad.cause, bad.detail
    assert b"\n" not in event.content
    assert b"\\u0000" not in event.content
    return (*event[:-1], orjson.loads(event.content))
