"""The short chaos run of CI: everything is broken once under traffic, and nothing is lost or doubled."""

import pytest

from tests.chaos import report
from tests.chaos.conftest import OpenWorld
from tests.chaos.faults import FAULTS
from tests.chaos.run import run

SHORT = (
    ("broker killed",),
    ("broker frozen", "all processes killed again and again"),
    ("Postgres restarted",),
    ("Postgres killed",),
    ("broker wiped", "one worker frozen past its lease"),
    ("all processes stopped in order, one by one",),
)


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_doubled_whatever_is_broken(chaos: OpenWorld) -> None:
    async with chaos() as world:
        for names in SHORT:
            row = await run(world, [FAULTS[name] for name in names])
            report.ROWS.append(row)
            row.check()
