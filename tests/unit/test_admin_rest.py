from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.shopify.admin.rest import CALL_LIMIT, CallLimit, LeakyBucket, read_call_limit

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("32/40", CallLimit(32, 40)),
        (" 1/80 ", CallLimit(1, 80)),
        ("", None),
        ("40", None),
        ("3/0", None),
        ("-1/40", None),
    ],
)
def test_reads_the_call_limit(given: str, found: CallLimit | None) -> None:
    assert read_call_limit({CALL_LIMIT: given}) == found


def test_a_burst_goes_at_once_and_the_rest_as_the_bucket_leaks() -> None:
    bucket = LeakyBucket(0.0, size=40, leak=2.0)
    assert [bucket.wait(0.0) for _ in range(42)] == [0.0] * 40 + [0.5, 1.0]


def test_others_calls_are_heard_of() -> None:
    bucket = LeakyBucket(0.0)
    bucket.heard(200, {CALL_LIMIT: "80/80"}, 0.0, NOW)
    assert bucket.wait(0.0) == 0.5


def test_a_429_is_waited_out_in_seconds() -> None:
    bucket = LeakyBucket(0.0)
    bucket.heard(429, {"Retry-After": "2.5"}, 0.0, NOW)
    assert bucket.wait(1.0) == 1.5
    bucket.heard(429, {}, 10.0, NOW)
    assert bucket.wait(10.0) == 2.0


@given(gaps=st.lists(st.floats(0, 3), min_size=1, max_size=200))
def test_never_more_in_the_bucket_than_it_holds(gaps: list[float]) -> None:
    ours, now, used, at = LeakyBucket(0.0, size=10, leak=2.0), 0.0, 0.0, 0.0
    for gap in gaps:
        now += gap
        sent = now + ours.wait(now)
        used, at = max(0.0, used - (sent - at) * 2.0) + 1, sent
        assert used <= 10 + 1e-6
        now = sent
