import random
from itertools import combinations

import pytest

from libs.common.outbox.faults import POINTS
from tests.chaos.faults import FAULTS
from tests.chaos.faults.broker import BROKER
from tests.chaos.faults.handlers import HANDLERS
from tests.chaos.faults.postgres import POSTGRES
from tests.chaos.faults.processes import PROCESSES
from tests.chaos.faults.steps import ELSEWHERE, STEPS, WEBHOOKS, WORKER
from tests.chaos.faults.wires import WIRES
from tests.chaos.storm import drawn


def test_no_fault_hides_another_one_of_its_name() -> None:
    assert len(FAULTS) == sum(map(len, (BROKER, WIRES, POSTGRES, PROCESSES, STEPS, HANDLERS)))


def test_a_process_dies_at_every_point_that_a_chaos_run_gets_to() -> None:
    assert WEBHOOKS.keys() | WORKER.keys() | ELSEWHERE.keys() == set(POINTS)
    assert not (WEBHOOKS.keys() | WORKER.keys()) & ELSEWHERE.keys()


@pytest.mark.parametrize("seed", range(50))
def test_a_storm_has_as_many_faults_as_were_asked_for_and_none_in_the_way_of_another(seed: int) -> None:
    storm = drawn(random.Random(seed), FAULTS.values(), 3)
    faults = [FAULTS[name] for name in storm.name.split(" + ")]
    assert len(faults) == 3
    assert not any(one.touches & other.touches for one, other in combinations(faults, 2))
    assert storm.touches == frozenset().union(*(fault.touches for fault in faults))


def test_the_same_seed_draws_the_same_storm() -> None:
    first, second = (drawn(random.Random(7), FAULTS.values(), 3).name for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("broker killed", True),
        ("broker flapping on the wire", True),
        ("one worker cut off from the broker", True),
        ("Postgres killed", False),
        ("a handler that hangs", False),
        ("worker dies: lost, not freed", False),
    ],
)
def test_the_faults_of_the_broker_alone_are_known_as_such(name: str, alone: bool) -> None:
    assert FAULTS[name].broker_only is alone
