"""One event: what is kept of it, what is odd about it, and why it cannot be kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.pixel_frame import PixelEvent
from libs.common.shopify.pixel_check import fits
from libs.common.shopify.pixel_marks import Mark
from services.ingest.events import Bad, Bounds, Cause, Judge

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SHOP = "first.myshopify.com"
JUDGE = Judge(
    Bounds(event_bytes=10_000, text_length=2_000, skew_ms=3_600_000, late_ms=172_800_000),
    fits, frozenset({SHOP}), "1.0.0", NOW_MS,
)  # fmt: skip


def event(**changes: Any) -> dict[str, Any]:
    usual = {
        "id": "a", "name": "page_viewed", "timestamp": "2026-11-21T12:00:00.000Z", "clientId": "c", "seq": 3,
        "type": "standard", "data": {}, "context": {"document": {"location": {"href": f"https://{SHOP}/"}}},
    }  # fmt: skip
    return {name: value for name, value in (usual | changes).items() if value is not ...}


def kept(**changes: Any) -> PixelEvent:
    return JUDGE.judge(event(**changes))


def cause(**changes: Any) -> Cause:
    with pytest.raises(Bad) as caught:
        JUDGE.judge(event(**changes))
    return caught.value.cause


def test_the_envelope_becomes_columns_and_the_rest_stays_as_it_is() -> None:
    found = kept(trimmed={"data.cart": 9})
    assert (found.id, found.name, found.kind, found.client_id, found.seq) == (
        "a",
        "page_viewed",
        "standard",
        "c",
        3,
    )
    assert (found.occurred_ms, found.received_ms, found.version, found.marks) == (NOW_MS, NOW_MS, "1.0.0", 0)
    assert orjson.loads(found.content) == {
        "data": {}, "context": event()["context"], "trimmed": {"data.cart": 9},
    }  # fmt: skip


CAUSES = [
    ({"id": ...}, Cause.NO_ID), ({"id": ""}, Cause.NO_ID), ({"id": "x" * 129}, Cause.NO_ID),
    ({"id": "\0"}, Cause.NO_ID),
    ({"id": True}, Cause.NO_ID), ({"id": {}}, Cause.NO_ID),
    ({"name": ...}, Cause.NO_NAME), ({"name": 7}, Cause.NO_NAME), ({"name": "a\ud800"}, Cause.NO_NAME),
    ({"timestamp": ...}, Cause.BAD_TIMESTAMP), ({"timestamp": "soon"}, Cause.BAD_TIMESTAMP),
    ({"timestamp": "0001-01-01T00:00:00Z"}, Cause.BAD_TIMESTAMP), ({"timestamp": -1}, Cause.BAD_TIMESTAMP),
    ({"timestamp": 1e300}, Cause.BAD_TIMESTAMP), ({"timestamp": float("inf")}, Cause.BAD_TIMESTAMP),
    ({"clientId": 7}, Cause.BAD_SHAPE), ({"clientId": "x" * 129}, Cause.BAD_SHAPE), ({"seq": "3"}, Cause.BAD_SHAPE),
    ({"seq": 1 << 63}, Cause.BAD_SHAPE), ({"seq": True}, Cause.BAD_SHAPE), ({"context": []}, Cause.BAD_SHAPE),
    ({"data": "x"}, Cause.BAD_SHAPE), ({"data": {"a": "x" * 2_001}}, Cause.TEXT_TOO_LONG),
    ({"data": {"a": ["x" * 1_000] * 12}}, Cause.TOO_LARGE), ({"data": {"a": 1 << 70}}, Cause.BAD_SHAPE),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), CAUSES, ids=lambda value: str(value)[:40])
def test_what_cannot_be_kept_has_a_cause(changes: dict[str, Any], expected: Cause) -> None:
    assert cause(**changes) is expected


def test_nesting_has_an_end() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    assert kept(data=deep)
    for _ in range(2_000):
        deep = {"a": deep}
    assert cause(data=deep) is Cause.TOO_DEEP


@pytest.mark.parametrize(
    ("given_time", "offset"),
    [("2026-11-21T13:00:00+0100", 0), ("2026-11-21T12:00:01", 1), (NOW_MS + 5_000, 5), (float(NOW_MS), 0)],
)
def test_times_are_read_as_browsers_and_others_write_them(given_time: object, offset: int) -> None:
    assert kept(timestamp=given_time).occurred_ms == NOW_MS + offset * 1000


def test_an_event_without_a_type_is_custom_when_it_carries_custom_data() -> None:
    assert kept(type=..., customData={"a": 1}, data=...).kind == "custom"
    assert kept(type=...).kind == "standard"
    assert kept(type="advanced-dom").kind == "advanced-dom"
    assert kept(name="unknown_thing", type="custom", data=["anything"]).kind == "custom"


BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"
MARKED = [
    ({"context": {"navigator": {"userAgent": "Googlebot/2.1"}}}, Mark.BOT),
    ({"context": {"navigator": {"userAgent": "HeadlessChrome/141"}}}, Mark.BOT),
    ({"context": {"navigator": {"userAgent": BROWSER}}}, Mark(0)),
    ({"timestamp": (NOW + timedelta(hours=2)).isoformat()}, Mark.CLOCK_SKEW),
    ({"timestamp": (NOW - timedelta(days=3)).isoformat()}, Mark.CLOCK_SKEW),
    ({"timestamp": (NOW - timedelta(days=1)).isoformat()}, Mark(0)),
    ({"context": {"document": {"location": {"href": "https://evil.com/"}}}}, Mark.FOREIGN_HOST),
    ({"context": {"window": {"location": {"href": f"https://{SHOP.upper()}:443/x"}}}}, Mark(0)),
    ({"context": {"document": {"location": {"href": "https://[half"}}}}, Mark.FOREIGN_HOST),
    ({"context": {"document": {"location": {"href": f"https://{SHOP}/?token=x"}}}}, Mark.CLEANED),
    ({"data": {"title": "<b>x</b>"}}, Mark.CLEANED),
    ({"name": "cart_viewed", "data": {"cart": 7}}, Mark.MISSHAPEN),
    ({"name": "cart_viewed", "data": {"cart": None}}, Mark(0)),
    ({"name": "cart_viewed", "data": None}, Mark(0)),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), MARKED, ids=lambda value: str(value)[:60])
def test_what_is_odd_is_marked_and_kept(changes: dict[str, Any], expected: Mark) -> None:
    assert Mark(kept(**changes).marks) == expected


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from([*event(), "customData", "other"]), ANY) | ANY)
def test_any_value_is_kept_or_has_a_cause(value: Any) -> None:
    try:
        found = JUDGE.judge(value)
    except Bad:
        return
    text = found.content.decode()
    assert "\\u0000" not in text
    assert "\n" not in text
    assert isinstance(orjson.loads(text), dict)
    assert 0 <= found.occurred_ms < 1 << 48
