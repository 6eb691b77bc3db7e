"""How long failed messages wait."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.runtime.backoff import CAP, FIRST, JITTER, spread, wait_after

ATTEMPTS = st.integers(1, 100_000)


@given(ATTEMPTS)
def test_a_wait_stays_within_the_jitter_around_its_step_and_under_the_cap(attempt: int) -> None:
    step = min(CAP, FIRST * 2 ** min(attempt - 1, 60))
    assert step * (1 - JITTER) <= wait_after(attempt) <= step * (1 + JITTER)


def test_ten_retries_last_about_a_quarter_of_an_hour() -> None:
    total = sum(wait_after(attempt) for attempt in range(1, 11))
    assert (1 - JITTER) * 1023 <= total <= (1 + JITTER) * 1023


def test_waits_of_one_step_differ_so_that_not_all_come_back_at_once() -> None:
    assert len({wait_after(3) for _ in range(50)}) > 25


@given(st.floats(0, 1e6))
def test_a_spread_wait_is_near_what_was_asked_for(seconds: float) -> None:
    assert seconds * (1 - JITTER) <= spread(seconds) <= seconds * (1 + JITTER)
