"""Identifiers are UUIDv7s that only ever grow."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from hypothesis import given
from hypothesis import strategies as st

from libs.common.ids import IdFactory, id_floor, made_at
from tests.clocks import TurnedClock

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
MILLISECOND = timedelta(milliseconds=1)


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = IdFactory().new()
    assert (made.version, made.variant) == (7, RFC_4122)


@given(st.lists(st.floats(-10, 10), max_size=30))
def test_ids_grow_whatever_the_clock_does(steps: list[float]) -> None:
    clock = TurnedClock()
    factory = IdFactory(clock)
    made = [factory.new()]
    for step in steps:
        clock.turn(step)
        made.append(factory.new())
    assert made == sorted(set(made))


def test_more_ids_than_one_millisecond_has_numbers_for_still_grow() -> None:
    factory = IdFactory(TurnedClock())
    made = [factory.new() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {identifier.version for identifier in made} == {7}


def test_threads_never_make_the_same_id() -> None:
    factory = IdFactory(TurnedClock())
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: factory.new(), range(4_000)))
    assert len(set(made)) == 4_000


@given(MOMENTS)
def test_an_id_tells_when_it_was_made(moment: datetime) -> None:
    assert abs(made_at(IdFactory(TurnedClock(moment)).new()) - moment) <= MILLISECOND


@given(MOMENTS)
def test_the_floor_of_a_moment_lies_below_its_ids_and_above_earlier_ones(moment: datetime) -> None:
    earlier = IdFactory(TurnedClock(moment - 2 * MILLISECOND)).new()
    assert earlier < id_floor(moment) <= IdFactory(TurnedClock(moment)).new()
