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
from tests.chaos.storm import drawn
from tests.chaos.world import World, open_world
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.servers.small_disk import why_no_small_disk

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

STORMS, ROUNDS = 8, 2  # worlds, and storms in each of them, one after another
DISK_BYTES = 700 << 20
# A full disk is felt soon where Postgres keeps little WAL beside the data.
OPTIONS = {"max_wal_size": "64MB", "min_wal_size": "32MB"}


@pytest.fixture(scope="module")
def ground() -> Iterator[PostgresServer]:
    """A Postgres for these tests alone, with a disk that can be full where that is possible."""
    with PostgresServer(OPTIONS, disk_bytes=None if why_no_small_disk() else DISK_BYTES) as server:
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


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_nothing_is_lost_or_doubled_by_a_fault(world: World, fault: Fault) -> None:
    await judge(world, fault)


@pytest.mark.parametrize("number", range(STORMS))
async def test_nothing_is_lost_or_doubled_by_faults_that_overlap(world: World, number: int) -> None:
    rng = random.Random(f"{SEED} storm {number}")
    for _ in range(ROUNDS):
        await judge(world, drawn(rng, FAULTS.values(), rng.choice((2, 2, 3))))


async def judge(world: World, fault: Fault) -> None:
    """One run, its line in the table, and the checker's word."""
    if fault.needs_small_disk and (reason := why_no_small_disk()):
        pytest.skip(reason)
    row = await run(world, [fault], settle=report.WANTED)
    report.ROWS.append(row)
    row.check()
