"""Which lane is served next: by weight, none starves, and a critical message always finds a place."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.topology import LANE_WEIGHTS, Lane
from libs.common.runtime.work import Delivery, LaneBuffers
from tests.deliveries import delivery

LANES = st.sampled_from(Lane)
SOME_LANES = st.sets(LANES, min_size=1).map(sorted)


def one(_: Delivery) -> int:
    return 1


def alike(_: Delivery, __: Delivery) -> bool:
    return True


def fill(buffers: LaneBuffers, lanes: list[Lane], messages: int) -> None:
    for lane in lanes:
        for _ in range(messages):
            buffers.add(delivery(lane))


def start(buffers: LaneBuffers) -> Lane | None:
    lane = buffers.choose()
    if lane is not None:
        buffers.take(lane, one, alike)
        buffers.started(lane)
    return lane


def start_all(buffers: LaneBuffers) -> list[Lane]:
    started = []
    while (lane := start(buffers)) is not None:
        started.append(lane)
    return started


@given(SOME_LANES, st.integers(1, 40), st.integers(1, 3))
def test_waiting_lanes_are_served_by_their_weights(lanes: list[Lane], concurrency: int, rounds: int) -> None:
    buffers = LaneBuffers(concurrency)
    turns = rounds * sum(LANE_WEIGHTS[lane] for lane in lanes)
    fill(buffers, lanes, turns)
    served: Counter[Lane] = Counter()
    for _ in range(turns):
        lane = start(buffers)
        assert lane is not None
        buffers.ended(lane)
        served[lane] += 1
    assert served == {lane: rounds * LANE_WEIGHTS[lane] for lane in lanes}


@given(st.lists(st.tuples(LANES, st.booleans()), max_size=120), st.integers(1, 20))
def test_no_lane_starves_whatever_else_comes_and_goes(
    arrivals: list[tuple[Lane, bool]], concurrency: int
) -> None:
    """A bulk message is started before the others have been served more than their weights allow."""
    buffers = LaneBuffers(concurrency)
    fill(buffers, [Lane.BULK], len(arrivals) + 1)
    since_bulk = 0
    for lane, _ in arrivals:
        buffers.add(delivery(lane))
        chosen = start(buffers)
        assert chosen is not None
        buffers.ended(chosen)
        since_bulk = 0 if chosen is Lane.BULK else since_bulk + 1
        assert since_bulk <= 2 * sum(LANE_WEIGHTS.values())


@given(st.lists(st.sampled_from([None, *Lane]), max_size=200), st.integers(1, 20))
def test_never_more_run_than_allowed(steps: list[Lane | None], concurrency: int) -> None:
    buffers, running = LaneBuffers(concurrency), list[Lane]()
    for step in steps:
        if step is not None:
            buffers.add(delivery(step))
        elif running:
            buffers.ended(running.pop(0))
        running += start_all(buffers)
        assert buffers.running == len(running) <= concurrency


@given(
    st.sets(st.sampled_from([Lane.DEFAULT, Lane.OVERFLOW, Lane.BULK]), min_size=1).map(sorted),
    st.integers(2, 64),
)
def test_a_critical_message_finds_a_place_however_long_the_others_run(
    lanes: list[Lane], concurrency: int
) -> None:
    buffers = LaneBuffers(concurrency)
    fill(buffers, lanes, concurrency)
    start_all(buffers)
    buffers.add(delivery(Lane.CRITICAL))
    assert start(buffers) is Lane.CRITICAL


@given(LANES, st.integers(1, 64))
def test_every_lane_alone_runs_something(lane: Lane, concurrency: int) -> None:
    buffers = LaneBuffers(concurrency)
    fill(buffers, [lane], concurrency)
    assert start_all(buffers)


def test_critical_work_may_use_every_place() -> None:
    buffers = LaneBuffers(8)
    fill(buffers, [Lane.CRITICAL], 10)
    assert start_all(buffers) == [Lane.CRITICAL] * 8
    assert buffers.waiting(Lane.CRITICAL) == 2


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=30), st.integers(1, 10))
def test_a_group_is_a_run_of_likes_from_the_front(types: list[str], most: int) -> None:
    buffers = LaneBuffers(4)
    for number, message_type in enumerate(types):
        buffers.add(delivery(identifier=UUID(int=number), message_type=message_type))
    group = buffers.take(
        Lane.DEFAULT, lambda _: most, lambda first, other: first.message.type == other.message.type
    )
    run = next((n for n, message_type in enumerate(types) if message_type != types[0]), len(types))
    assert [member.message.id.int for member in group] == list(range(min(run, most)))
    assert buffers.waiting(Lane.DEFAULT) == len(types) - len(group)


def test_what_was_let_wait_comes_first_when_it_may_go() -> None:
    buffers = LaneBuffers(4)
    waited = delivery(identifier=UUID(int=1))
    buffers.add(delivery(identifier=UUID(int=2)))
    buffers.add(waited, first=True)
    assert buffers.take(Lane.DEFAULT, one, alike) == [waited]


@given(st.lists(LANES, max_size=30))
def test_emptying_takes_out_everything_that_was_not_started(lanes: list[Lane]) -> None:
    buffers = LaneBuffers(2)
    for number, lane in enumerate(lanes):
        buffers.add(delivery(lane, identifier=UUID(int=number)))
    assert sorted(rest.message.id.int for rest in buffers.empty()) == list(range(len(lanes)))
    assert start(buffers) is None
