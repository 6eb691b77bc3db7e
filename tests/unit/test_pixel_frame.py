"""A frame holds what was put into it, and what is none is told from one."""

import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.pixel_frame import COLUMNS, InvalidFrame, PixelEvent, decode, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EVENTS = st.builds(
    PixelEvent, TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.none() | st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 31), st.none() | TEXTS,
    st.dictionaries(TEXTS, TEXTS, max_size=3).map(orjson.dumps),
)  # fmt: skip


@given(st.lists(EVENTS, min_size=1, max_size=20))
def test_what_is_put_in_comes_out(events: list[PixelEvent]) -> None:
    frame = decode(encode(events))
    assert len(frame) == len(events)
    rows = zip(*frame.columns, strict=True)
    assert list(rows) == [tuple(getattr(event, name) for name in COLUMNS) for event in events]
    assert [content.encode() for content in frame.contents] == [event.content for event in events]


WHOLE = encode([PixelEvent("a", "b", "standard", None, None, 1, 2, 0, None, b"{}")])
BROKEN = {
    "nothing": b"",
    "no frame": b"[]",
    "cut off": WHOLE[:-3],
    "not JSON": zlib.compress(b"x\n{}"),
    "no columns": zlib.compress(b"{}\n{}"),
    "too few rows": zlib.compress(zlib.decompress(WHOLE) + b"\n{}"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_is_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidFrame):
        decode(body)


@given(st.binary())
def test_nothing_else_comes_of_any_body(body: bytes) -> None:
    with pytest.raises(InvalidFrame):
        decode(body)
