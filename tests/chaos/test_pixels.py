"""Faults under pixel traffic: an event that was answered with 204 is one row, whatever happens to whom."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from libs.common.outbox.faults import Point
from tests.chaos.conftest import SEED
from tests.chaos.faults.fault import do
from tests.chaos.pixels import PixelWorld, judge, pixel_world
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

Act = Callable[[PixelWorld], Awaitable[None]]
INGEST_DIES: tuple[Point, ...] = (
    "received, not stored", "stored, not announced", "stored, not answered", "committed, not published",
    "confirmed, not noted",
)  # fmt: skip
WORKER_DIES: tuple[Point, ...] = (
    "claimed, not started", "handler done, not committed", "committed, not acknowledged",
)  # fmt: skip
STORM_TURNS = 12


async def broker_broken(world: PixelWorld, harm: Callable[[RabbitNode], None]) -> None:
    """Events flow on through Postgres, and are stored."""
    await do(harm, world.rabbit)
    await world.flowing()
    await world.storing()
    await do(world.rabbit.heal)
    await world.flowing()


async def postgres_broken(world: PixelWorld, harm: Callable[[PostgresServer], None]) -> None:
    await do(harm, world.postgres)
    if harm is not PostgresServer.restart:
        await world.felt()
    await do(world.postgres.heal)
    await world.storing()


async def killed(world: PixelWorld, name: str) -> None:
    world.stack.kill(name)
    world.stack.start(name)
    await world.storing()


async def dies(world: PixelWorld, name: str, point: Point) -> None:
    if point == "claimed, not started":  # nobody claims what RabbitMQ brings
        await do(world.rabbit.kill)
    await world.dies_at(name, point)
    await do(world.rabbit.heal)
    await world.storing()


async def frozen(world: PixelWorld, name: str) -> None:
    """For longer than its leases: others do its work, and it comes back to what is done."""
    world.stack.freeze(name)
    await world.storing(1_000)
    world.stack.thaw(name)
    await world.storing()


FAULTS: Mapping[str, Act] = {
    "broker killed": partial(broker_broken, harm=RabbitNode.kill),
    "broker frozen": partial(broker_broken, harm=RabbitNode.freeze),
    "broker wiped": partial(broker_broken, harm=RabbitNode.wipe),
    "Postgres restarted": partial(postgres_broken, harm=PostgresServer.restart),
    "Postgres killed": partial(postgres_broken, harm=PostgresServer.kill),
    "Postgres frozen": partial(postgres_broken, harm=PostgresServer.freeze),
    "ingest killed": partial(killed, name="ingest"),
    "worker killed": partial(killed, name="worker0"),
    "worker frozen": partial(frozen, name="worker0"),
    **{f"ingest dies: {point}": partial(dies, name="ingest", point=point) for point in INGEST_DIES},
    **{f"worker dies: {point}": partial(dies, name="worker0", point=point) for point in WORKER_DIES},
}
SHORT = (
    "broker killed", "Postgres restarted", "ingest dies: stored, not announced", "ingest dies: stored, not answered",
    "worker killed", "worker dies: handler done, not committed",
)  # fmt: skip


@pytest.fixture
async def world(
    tmp_path: Path, database: str, postgres: PostgresServer, rabbit: RabbitNode, broker_url: str,
    request: pytest.FixtureRequest,
) -> AsyncIterator[PixelWorld]:  # fmt: skip
    seed = f"{SEED} {request.node.name}"
    async with pixel_world(tmp_path, database, postgres, rabbit, broker_url, seed) as opened:
        yield opened


@pytest.mark.timeout(300)
async def test_accepted_events_are_rows_once_whatever_is_broken(world: PixelWorld, database: str) -> None:
    for name in SHORT:
        await FAULTS[name](world)
    await world.settle()
    await judge(world, database)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
async def test_accepted_events_are_rows_once_after_a_fault(
    world: PixelWorld, database: str, name: str
) -> None:
    for _ in range(2):
        await FAULTS[name](world)
    await world.settle()
    await judge(world, database)


@pytest.mark.long
@pytest.mark.timeout(1_800)
async def test_accepted_events_are_rows_once_after_faults_in_any_order(
    world: PixelWorld, database: str
) -> None:
    for _ in range(STORM_TURNS):
        await FAULTS[world.draw.choice(list(FAULTS))](world)
    await world.settle()
    await judge(world, database)
