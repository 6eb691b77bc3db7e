"""Every fault alone, and faults that chance brings together. SEED=… draws the same ones again."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.common.migrate import migrate
from tests.chaos import report
from tests.chaos.conftest import SEED
from tests.chaos.faults import FAULTS
from tests.chaos.faults.fault import Fault
from tests.chaos.run import run
from tests.chaos.storm import Storm, drawn
from tests.chaos.world import World, open_world
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.servers.small_disk import why_no_small_disk

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

STORMS, ROUNDS = 8, 2  # worlds, and storms in each of them, one after another
NO_SMALL_DISK = why_no_small_disk()
DISK_BYTES = 700 << 20
# A full disk is felt soon where Postgres does not keep much WAL beside the data.
OPTIONS = {"max_wal_size": "64MB", "min_wal_size": "32MB"}
POSSIBLE = tuple(fault for fault in FAULTS.values() if not (fault.needs_small_disk and NO_SMALL_DISK))


@pytest.fixture(scope="module")
def ground() -> Iterator[PostgresServer]:
    """A Postgres for these tests alone, with a disk that can be full where that is possible."""
    with PostgresServer(OPTIONS, disk_bytes=None if NO_SMALL_DISK else DISK_BYTES) as server:
        server.create_database("template_migrated")
        migrate(server.url("template_migrated"))
        yield server


@pytest.fixture
async def world(
    ground: PostgresServer, rabbit: RabbitNode, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """A world of its own for each test; whatever a failed run left broken is mended behind it."""
    ground.create_database("chaos", "template_migrated")
    seed = f"{SEED} {request.node.name}"
    try:
        async with open_world(
            tmp_path, postgres=ground, rabbit=rabbit, database=ground.url("chaos"), seed=seed
        ) as opened:
            yield opened
            for fault in FAULTS.values():
                await fault.heal(opened)
    finally:
        ground.heal()
        ground.drop_database("chaos")


def _parameter(fault: Fault) -> object:
    marks = [pytest.mark.skip(NO_SMALL_DISK or "")] if fault not in POSSIBLE else []
    return pytest.param(fault, id=fault.name, marks=marks)


@pytest.mark.parametrize("fault", [_parameter(fault) for fault in FAULTS.values()])
async def test_nothing_is_lost_or_doubled_by_a_fault(world: World, fault: Fault) -> None:
    row = await run(world, [fault], settle=True)
    report.ROWS.append(row)
    row.check()


def _storms() -> Iterator[object]:
    for number in range(STORMS):
        rng = random.Random(f"{SEED} storm {number}")
        storms = [drawn(rng, POSSIBLE, rng.choice((2, 2, 3))) for _ in range(ROUNDS)]
        yield pytest.param(storms, id=" / ".join(storm.name for storm in storms))


@pytest.mark.parametrize("storms", list(_storms()))
async def test_nothing_is_lost_or_doubled_by_faults_that_overlap(world: World, storms: list[Storm]) -> None:
    for storm in storms:
        row = await run(world, [storm], settle=True)
        report.ROWS.append(row)
        row.check()
