"""A backfill whose workers are killed again and again still makes each order one message, in constant memory."""

import asyncio
import sys
from pathlib import Path

import pytest

from libs.common.migrate import migrate
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from tests.integration.backfill_kit import Shop, begin, shop
from tests.waiting import poll

MEGABYTE = 1024 * 1024
KEPT = "SELECT count(*) FROM worker.orders WHERE NOT deleted"


async def run(one: Shop, orders: int, kills: int) -> int:
    """A backfill whose worker is killed so many times while it reads; returns the most memory a worker needed."""
    worker, peak = await one.worker(), 0
    identifier = await begin(worker.client)
    for number in range(kills):
        wanted = orders * (number + 1) // (kills + 1)
        await one.accepted(identifier, wanted, within=1_500)
        peak = max(peak, worker.peak())
        await worker.kill()
        assert (await one.row(identifier))["ended_at"] is None
        worker = await one.worker()
    await one.over(identifier, within=1_500)
    await _done(one, orders)
    return max(peak, worker.peak())


async def _done(one: Shop, orders: int) -> None:
    """Each order was accepted once and worked on once, and all of them are kept."""
    await poll(lambda: one.worked_on(orders), within=1_000)
    assert await one.times_accepted() == [1] * orders
    assert await one.effects() == orders
    assert await one.pool.fetchval(KEPT) == orders
    assert await one.pool.fetchval("SELECT count(*) FROM worker.failed") == 0


async def test_each_order_is_taken_in_once_though_the_worker_is_killed(database: str, tmp_path: Path) -> None:
    async with shop(database, tmp_path, Setup(sizes=Sizes(orders=600))) as one:
        await run(one, 600, kills=1)
        assert [operation["status"] for operation in await one.operations()] == ["COMPLETED"]


@pytest.mark.long
@pytest.mark.timeout(5_400)
async def test_two_hundred_thousand_orders_are_taken_in_once_in_the_memory_that_two_thousand_need(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(migrate, empty_database)
    async with shop(empty_database, tmp_path / "small", Setup(sizes=Sizes(orders=2_000))) as one:
        small = await run(one, 2_000, kills=1)
    async with shop(database, tmp_path / "large", Setup(sizes=Sizes(orders=200_000))) as one:
        large = await run(one, 200_000, kills=3)
        assert [operation["status"] for operation in await one.operations()] == ["COMPLETED"]
    sys.stdout.write(
        f"a worker's memory at most: {small / MEGABYTE:.0f} MB at 2,000 orders, "
        f"{large / MEGABYTE:.0f} MB at 200,000\n"
    )
    assert large < small + 48 * MEGABYTE
