"""Bodies are read as strictly as they can be, and taken apart where they cannot: one event's fault is its own."""

import gzip
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.bodies import BombRefused, NotGzip, Unreadable, inflate, read

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.builds(
    lambda number, data: {"id": str(number), "name": "x", "data": data}, st.integers(0), VALUES
)
# Each is bad by itself and closes what it opens: what does not swallows its neighbours in any reading.
BROKEN = st.sampled_from(
    [
        b'{"id": tru}', b'{"a": "\\ud800"}', b"{'a': 1}", b'{"a": 1e999}', b'{"a": "\x01"}', b'{"a": "\xff"}',
        b'{"a": NaN}', b"nul", b'{"a": 01}', b'{"a" 1}', b"+1", b'{"a": "\\x"}', b"[" * 2_000 + b"]" * 2_000,
    ]
)  # fmt: skip


def good(values: Any) -> list[Any]:
    return [value for value in values if isinstance(value, dict) and "name" in value]


@given(st.lists(EVENTS.map(orjson.dumps) | BROKEN, max_size=12))
def test_no_broken_event_of_an_array_costs_a_good_one(parts: list[bytes]) -> None:
    found = read(b"[" + b" , ".join(parts) + b"]").values
    expected = good(_loaded(part) for part in parts)
    assert good(found) == expected
    assert len(found) == len(parts)


@given(st.lists(EVENTS.map(orjson.dumps) | BROKEN, min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_no_broken_line_costs_a_good_one(parts: list[bytes], ending: str) -> None:
    found = read(ending.encode().join(parts)).values
    assert good(found) == good(_loaded(part) for part in parts)


@given(st.lists(EVENTS.map(orjson.dumps) | BROKEN, max_size=8))
def test_key_and_version_are_found_beside_broken_events(parts: list[bytes]) -> None:
    body = b'{"key": "sbp_1", "version": "1.2", "events": [%b]}' % b",".join(parts)
    batch = read(body)
    assert (batch.key, batch.version) == ("sbp_1", "1.2")
    assert good(batch.values) == good(_loaded(part) for part in parts)


@given(st.binary(max_size=300))
def test_nothing_makes_reading_fail(body: bytes) -> None:
    read(body)


@given(st.text('[]{}",:\\ \nabe1-', max_size=200))
def test_nothing_that_looks_like_json_makes_reading_fail(text: str) -> None:
    read(text.encode())


def test_an_array_that_was_cut_off_gives_what_is_whole() -> None:
    first, second, cut = read(b'[{"id": "a"}, {"id": "b"}, {"id": "c').values
    assert (first, second) == ({"id": "a"}, {"id": "b"})
    assert isinstance(cut, Unreadable)


def test_one_event_over_several_lines_is_one_event() -> None:
    assert read(b'{\n "id": "a",\n "name": tru\n}').values[0].text.startswith("{")
    assert len(read(b'{\n "id": "a",\n "name": tru\n}').values) == 1


def test_an_event_that_has_events_of_its_own_is_an_event() -> None:
    body = orjson.dumps({"name": "custom", "id": "1", "events": [1, 2]})
    assert len(read(body).values) == 1


def test_gzip_is_undone_within_its_bounds() -> None:
    text = b"0123456789" * 100
    assert inflate(gzip.compress(text), limit=1_000, ratio=1_000) == text
    for limit, ratio in ((999, 1_000), (1_000, 2)):
        with pytest.raises(BombRefused):
            inflate(gzip.compress(text), limit=limit, ratio=ratio)
    for broken in (b"", b"x", gzip.compress(text)[:-9]):
        with pytest.raises(NotGzip):
            inflate(broken, limit=2_000, ratio=2_000)


def _loaded(part: bytes) -> Any:
    """What a good part is; of a broken one only that it is no event."""
    try:
        return orjson.loads(part)
    except orjson.JSONDecodeError:
        return None
