"""A backfill whose workers are killed again and again still makes each order one message, in constant memory."""

from pathlib import Path

import pytest

from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from tests.integration.backfill_kit import Shop, WorkerProcess, begin, shop

MEGABYTE = 1024 * 1024
KEPT = "SELECT count(*) FROM worker.orders WHERE NOT deleted"


async def run(one: Shop, orders: int, kills: int) -> int:
    """A backfill whose worker is killed so many times while it reads; returns the most memory a worker needed."""
    worker, peak = await one.worker(), 0
    identifier = await begin(worker)
    for number in range(kills):
        wanted = orders * (number + 1) // (kills + 1)
        await one.reached(identifier, lambda row, wanted=wanted: row["accepted"] >= wanted, within=1_500)
        peak = max(peak, worker.peak())
        await worker.kill()
        assert (await one.row(identifier))["ended_at"] is None
        worker = await one.worker()
    await one.over(identifier, within=1_500)
    await _done(one, worker, orders)
    return max(peak, worker.peak())


async def _done(one: Shop, worker: WorkerProcess, orders: int) -> None:
    """Each order was accepted once and worked on once, and all of them are kept."""
    from tests.waiting import poll

    async def all_worked_on() -> bool:
        return await one.effects() >= orders

    await poll(all_worked_on, within=1_000)
    assert await one.times_accepted() == [1] * orders
    assert await one.effects() == orders
    assert await one.pool.fetchval(KEPT) == orders
    assert await one.pool.fetchval("SELECT count(*) FROM worker.failed") == 0


async def test_each_order_is_taken_in_once_though_the_worker_is_killed(database: str, tmp_path: Path) -> None:
    async with shop(database, tmp_path, Setup(sizes=Sizes(orders=2_000))) as one:
        await run(one, 2_000, kills=1)
        assert [operation["status"] for operation in await one.operations()] == ["COMPLETED"]
