"""When new messages may take the broker route, and how it comes back after a failure."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.outbox.circuit import (
    FIRST_HOLD,
    GOOD_SERVICE,
    LONGEST_HOLD,
    PROBES_WANTED,
    RAMP_SECONDS,
    RAMP_START,
    Circuit,
    State,
)
from tests.clocks import TurnedClock


def closed() -> tuple[Circuit, TurnedClock]:
    clock = TurnedClock()
    circuit = Circuit(clock)
    circuit.probed()
    return circuit, clock


def state(circuit: Circuit) -> str:
    return circuit.state.value


def probe_until_back(circuit: Circuit, clock: TurnedClock) -> float:
    """Probes every tenth of a second; how long the circuit stayed open."""
    opened = clock.seconds
    while circuit.state is State.OPEN:
        clock.turn(0.1)
        circuit.probed()
    return clock.seconds - opened


def test_nothing_is_trusted_before_the_first_probe_which_is_enough() -> None:
    circuit = Circuit(TurnedClock())
    assert state(circuit) == "open"
    assert not any(circuit.admits() for _ in range(10))
    circuit.probed()
    assert state(circuit) == "closed"
    assert all(circuit.admits() for _ in range(10))


def test_a_failure_opens_at_once_and_is_told_once() -> None:
    circuit, _ = closed()
    assert circuit.failed("timeout")
    assert not circuit.failed("connection")
    assert (state(circuit), circuit.reason) == ("open", "timeout")
    assert circuit.share() == 0


def test_it_comes_back_only_after_several_probes_in_a_row_and_the_hold() -> None:
    circuit, clock = closed()
    circuit.failed("timeout")
    for _ in range(PROBES_WANTED):
        circuit.probed()
    assert state(circuit) == "open"  # the hold is not over
    clock.turn(FIRST_HOLD)
    circuit.failed("timeout")  # a bad probe: the good ones before it do not count
    for _ in range(PROBES_WANTED - 1):
        circuit.probed()
    assert state(circuit) == "open"
    circuit.probed()
    assert state(circuit) == "ramping"


def test_the_ramp_starts_low_and_ends_closed() -> None:
    circuit, clock = closed()
    circuit.failed("timeout")
    probe_until_back(circuit, clock)
    assert circuit.share() == RAMP_START
    assert not circuit.admits()
    clock.turn(RAMP_SECONDS)
    assert circuit.share() == 1
    assert state(circuit) == "closed"


def test_a_failure_on_the_ramp_opens_again() -> None:
    circuit, clock = closed()
    circuit.failed("timeout")
    probe_until_back(circuit, clock)
    assert circuit.failed("returned")
    assert not circuit.admits()


def test_a_flapping_broker_is_held_off_twice_as_long_each_time_but_not_for_ever() -> None:
    circuit, clock = closed()
    holds = []
    for _ in range(9):
        circuit.failed("connection")
        holds.append(round(probe_until_back(circuit, clock)))
    assert holds == [1, 2, 4, 8, 16, 32, LONGEST_HOLD, LONGEST_HOLD, LONGEST_HOLD]


def test_good_service_forgives() -> None:
    circuit, clock = closed()
    for _ in range(4):
        circuit.failed("connection")
        probe_until_back(circuit, clock)
    clock.turn(RAMP_SECONDS)
    assert circuit.share() == 1
    clock.turn(GOOD_SERVICE + 1)
    circuit.failed("connection")
    assert round(probe_until_back(circuit, clock)) == FIRST_HOLD


@given(st.floats(0, RAMP_SECONDS), st.integers(1, 500))
def test_the_share_of_admitted_messages_is_the_circuits_share(seconds: float, messages: int) -> None:
    circuit, clock = closed()
    circuit.failed("timeout")
    probe_until_back(circuit, clock)
    clock.turn(seconds)
    admitted = sum(circuit.admits() for _ in range(messages))
    assert abs(admitted - circuit.share() * messages) <= 1


STEPS = st.one_of(
    st.floats(0, 10).map(lambda seconds: ("turn", seconds)),
    st.sampled_from([("fail", 0.0), ("probe", 0.0), ("admit", 0.0)]),
)


@given(st.lists(STEPS, max_size=150))
def test_it_never_admits_while_open_and_a_ramp_only_rises(steps: list[tuple[str, float]]) -> None:
    clock = TurnedClock()
    circuit = Circuit(clock)
    ramp = 0.0
    for what, seconds in steps:
        if what == "turn":
            clock.turn(seconds)
        elif what == "probe":
            circuit.probed()
        elif what == "fail":
            circuit.failed("timeout")
            ramp = 0.0
        elif circuit.state is State.OPEN:
            assert not circuit.admits()
        else:
            circuit.admits()
        share = circuit.share()
        assert 0 <= ramp <= share <= 1
        ramp = share
