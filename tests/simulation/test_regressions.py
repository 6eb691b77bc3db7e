"""What once went wrong does not any more, and would be seen."""

from contextlib import ExitStack

import pytest

from tests.simulation.regressions import REGRESSIONS, Regression
from tests.simulation.schedule import replay

each = pytest.mark.parametrize(
    "regression", REGRESSIONS, ids=lambda regression: regression.bring_back.__name__
)


@each
def test_it_holds_now(regression: Regression) -> None:
    assert [replay(schedule) for schedule in regression.schedules()] == [[]] * len(regression.schedules())


@each
def test_it_would_be_seen_again(regression: Regression) -> None:
    with ExitStack() as undo:
        regression.bring_back(undo)
        broken = [violation for schedule in regression.schedules() for violation in replay(schedule)]
    assert regression.rule in {violation.rule for violation in broken}
