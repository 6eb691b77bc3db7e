"""The tally counts each way an attempt can end, and Shopify's schedule is what it is."""

from itertools import pairwise

import pytest

from services.sandbox.sender import RETRY_DELAYS, Patience
from services.sandbox.tally import Answer, Tally


def counted(*answers: Answer) -> Tally:
    tally = Tally()
    for answer in answers:
        tally.count(answer)
    return tally


def test_shopify_retries_eight_times_within_four_hours_backing_off() -> None:
    assert len(RETRY_DELAYS) == 8
    assert sum(RETRY_DELAYS) == 4 * 3600
    assert all(1.9 < later / sooner < 2.1 for sooner, later in pairwise(RETRY_DELAYS))


def test_a_scale_changes_the_pauses_and_nothing_else() -> None:
    scaled = Patience().scaled(0.001)
    assert scaled.retry_delays == pytest.approx([delay / 1000 for delay in RETRY_DELAYS])
    assert (scaled.connect, scaled.total) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("status", "accepted"), [(200, True), (204, True), (299, True), (301, False), (308, False)]
)
def test_only_2xx_is_a_success(status: int, accepted: bool) -> None:
    assert Answer(status, 0.1).accepted is accepted


def test_no_answer_is_no_success() -> None:
    assert not Answer(None, 0.1, failure="timeout").accepted


def test_each_answer_is_counted_where_it_belongs() -> None:
    tally = counted(
        Answer(200, 0.1),
        Answer(200, 0.1, duplicate=True),
        Answer(503, 0.1),
        Answer(302, 0.1),
        Answer(None, 5.0, failure="timeout"),
    )
    assert (tally.accepted, tally.duplicates) == (1, 1)
    assert tally.rejected == {"503": 1, "302": 1}
    assert tally.unanswered == {"timeout": 1}


def test_percentiles_are_of_answered_attempts() -> None:
    answers = [Answer(200, milliseconds / 1000) for milliseconds in range(1, 101)]
    summary = counted(*answers, Answer(None, 60.0, failure="timeout")).summary(2.0)
    assert (summary["p50_ms"], summary["p99_ms"]) == (50.0, 99.0)
    assert summary["per_second"] == 50.0


def test_a_run_without_answers_has_no_latency() -> None:
    assert Tally().summary(0.0)["p99_ms"] is None
