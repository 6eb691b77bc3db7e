"""Limits inside one process."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.topology import Lane
from libs.common.runtime.gates import Entry, Gates
from libs.common.runtime.work import Delivery
from tests.clocks import TurnedClock
from tests.deliveries import delivery

KEY = ("orders.keep", "a.myshopify.com")
OTHER = ("orders.keep", "b.myshopify.com")


def number(value: int) -> Delivery:
    return delivery(identifier=UUID(int=value))


def test_as_many_go_as_allowed_some_wait_and_the_rest_is_refused() -> None:
    gates = Gates(TurnedClock())
    said = [gates.enter(KEY, number(n), limit=2, most_waiting=1) for n in range(4)]
    assert said == [Entry.GO, Entry.GO, Entry.WAIT, Entry.FULL]


def test_shops_do_not_fill_each_others_gates() -> None:
    gates = Gates(TurnedClock())
    gates.enter(KEY, number(1), limit=1, most_waiting=0)
    assert gates.enter(OTHER, number(2), limit=1, most_waiting=0) is Entry.GO


def test_who_leaves_calls_the_one_that_waits_longest() -> None:
    gates = Gates(TurnedClock())
    deliveries = [number(n) for n in range(3)]
    for one in deliveries:
        gates.enter(KEY, one, limit=1, most_waiting=5)
    assert gates.leave(KEY, 0.1) is deliveries[1]
    assert gates.enter(KEY, deliveries[1], limit=1, most_waiting=5) is Entry.GO
    assert gates.leave(KEY, 0.1) is deliveries[2]


def test_the_least_suspect_goes_first() -> None:
    gates = Gates(TurnedClock())
    suspicions = (0, 2, 1, 0, 3, 1)
    deliveries = [replace(number(n), suspicions=suspect) for n, suspect in enumerate(suspicions)]
    for one in deliveries:
        gates.enter(KEY, one, limit=1, most_waiting=9)
    called = [gates.leave(KEY, 0.1) for _ in deliveries[1:]]
    assert called == [deliveries[n] for n in (3, 2, 5, 1, 4)]


def test_a_gate_nobody_is_inside_is_forgotten() -> None:
    gates = Gates(TurnedClock())
    for _ in range(3):
        gates.enter(KEY, number(1), limit=1, most_waiting=0)
        assert gates.leave(KEY, 0.1) is None
    assert gates._gates == {}


def test_emptying_gives_those_who_wait_and_nobody_inside() -> None:
    gates = Gates(TurnedClock())
    inside, first, second = number(1), number(2), number(3)
    for one in (inside, first, second):
        gates.enter(KEY, one, limit=1, most_waiting=5)
    assert gates.empty() == [first, second]
    assert gates.leave(KEY, 0.1) is None


def test_who_waits_is_counted_by_lane() -> None:
    gates = Gates(TurnedClock())
    for lane in (Lane.DEFAULT, Lane.BULK, Lane.BULK):
        gates.enter(KEY, delivery(lane), limit=1, most_waiting=5)
    assert gates.waiting == Counter({Lane.BULK: 2})
    gates.empty()
    assert gates.waiting.total() == 0


def test_the_refused_come_back_one_after_the_other_as_places_get_free() -> None:
    gates = Gates(TurnedClock())
    gates.enter(KEY, number(1), limit=2, most_waiting=0)
    waits = [gates.appointment(KEY) for _ in range(500)]
    gaps = [later - earlier for earlier, later in pairwise(waits[:200])]
    assert waits == sorted(waits)
    assert min(waits) > 0
    assert max(gaps) == pytest.approx(min(gaps))
    assert max(waits) <= 60


def test_appointments_follow_how_long_the_work_takes() -> None:
    clock = TurnedClock()
    gates = Gates(clock)
    for one in (number(1), number(2)):
        gates.enter(KEY, one, limit=2, most_waiting=0)
    quick = gates.appointment(KEY), gates.appointment(KEY)
    for _ in range(50):
        clock.turn(10)
        gates.leave(KEY, 10.0)
        gates.enter(KEY, number(2), limit=2, most_waiting=0)
    slow = gates.appointment(KEY), gates.appointment(KEY)
    assert slow[1] - slow[0] > 10 * (quick[1] - quick[0])


def test_a_gate_is_remembered_while_somebody_has_an_appointment() -> None:
    clock = TurnedClock()
    gates = Gates(clock)
    gates.enter(KEY, number(1), limit=1, most_waiting=0)
    first = gates.appointment(KEY)
    gates.leave(KEY, 0.1)
    gates.enter(KEY, number(2), limit=1, most_waiting=0)
    assert gates.appointment(KEY) > first
    clock.turn(100)
    gates.leave(KEY, 0.1)
    assert gates._gates == {}


def test_shops_that_never_came_back_for_their_appointments_do_not_fill_the_memory() -> None:
    clock = TurnedClock()
    gates = Gates(clock)
    for shop in range(10_000):
        key = ("orders.keep", f"{shop}")
        gates.enter(key, number(1), limit=1, most_waiting=0)
        gates.appointment(key)
        gates.leave(key, 0.1)
        clock.turn(1)
    assert len(gates._gates) < 2_000


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 4), st.integers(0, 6))
def test_nobody_is_forgotten_and_never_too_many_are_inside(
    steps: list[bool], limit: int, most_waiting: int
) -> None:
    """Arrivals and departures in any order; a called delivery enters at once, as the dispatcher lets it."""
    gates, inside, waiting = Gates(TurnedClock()), 0, 0
    for value, arrives in enumerate(steps):
        if arrives:
            entry = gates.enter(KEY, number(value), limit=limit, most_waiting=most_waiting)
            inside, waiting = inside + (entry is Entry.GO), waiting + (entry is Entry.WAIT)
        elif inside:
            called = gates.leave(KEY, 0.1)
            assert (called is not None) == (waiting > 0)
            if called is None:
                inside -= 1
            else:
                assert gates.enter(KEY, called, limit=limit, most_waiting=most_waiting) is Entry.GO
                waiting -= 1
        assert inside <= limit
        assert waiting == gates.waiting.total() <= most_waiting
        assert len(gates._gates) == (inside > 0)
