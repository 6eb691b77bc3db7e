"""Where a bug is put into the protocol, the simulation finds it."""

import pytest

from tests.simulation.bugs import HUNTS, Hunt, broken, found_after

pytestmark = pytest.mark.timeout(1_200)  # a failure is shrunk, which takes its time

MOST = 500  # schedules within which a bug is found; which ones are drawn depends on what else is imported
LATE = [hunt for hunt in HUNTS if hunt.late_after]


@pytest.mark.parametrize("hunt", HUNTS, ids=lambda hunt: hunt.bug)
def test_a_bug_is_found(hunt: Hunt) -> None:
    with broken(hunt):
        assert found_after(hunt, MOST) is not None


@pytest.mark.parametrize("hunt", LATE, ids=lambda hunt: hunt.bug)
def test_what_shows_a_bug_by_its_lateness_is_not_late_without_it(hunt: Hunt) -> None:
    assert found_after(hunt, 40) is None
