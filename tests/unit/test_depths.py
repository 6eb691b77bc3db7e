"""A queue that is deep enough takes no more until it has fallen to half."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.outbox.depths import Depths

QUEUE = "shopbus.worker.default"


def test_a_queue_nobody_has_seen_is_shallow_and_is_watched_from_then_on() -> None:
    depths = Depths(10)
    assert depths.shallow(QUEUE)
    assert depths.names() == [QUEUE]


def test_a_full_queue_takes_more_only_below_half() -> None:
    depths = Depths(10)
    seen = []
    for ready in (10, 11, 10, 6, 5, 10, 11):
        depths.seen(QUEUE, ready)
        seen.append(depths.shallow(QUEUE))
    assert seen == [True, False, False, False, True, True, False]


def test_what_waits_to_be_published_counts() -> None:
    depths = Depths(10)
    depths.seen(QUEUE, 6)
    assert not depths.shallow(QUEUE, waiting=5)


def test_what_was_published_counts_before_rabbitmq_reports_it() -> None:
    depths = Depths(3)
    for _ in range(4):
        assert depths.shallow(QUEUE)
        depths.published(QUEUE, 1)
    assert not depths.shallow(QUEUE)
    depths.seen(QUEUE, 0)
    assert depths.shallow(QUEUE)


def test_packs_are_counted_by_the_messages_in_them() -> None:
    depths = Depths(1_000)
    for _ in range(200):
        depths.published(QUEUE, 100)
    depths.seen(QUEUE, 20)
    assert not depths.shallow(QUEUE)
    depths.seen(QUEUE, 3)
    assert depths.shallow(QUEUE)


@given(st.lists(st.integers(0, 40), min_size=1), st.integers(1, 20))
def test_full_and_shallow_alternate_only_by_crossing_both_marks(
    depths_seen: list[int], high_water: int
) -> None:
    depths, full = Depths(high_water), False
    for ready in depths_seen:
        depths.seen(QUEUE, ready)
        full = ready > (high_water / 2 if full else high_water)
        assert depths.shallow(QUEUE) is not full


def test_queues_do_not_fill_each_other() -> None:
    depths = Depths(1)
    depths.seen(QUEUE, 5)
    assert not depths.shallow(QUEUE)
    assert depths.shallow("shopbus.worker.critical")
