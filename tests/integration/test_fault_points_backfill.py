"""Wherever a worker dies over a backfill, the next one goes on: Shopify is asked once, each object is one message."""

import signal
from pathlib import Path

from libs.common.outbox.faults import Point
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from tests.integration.backfill_kit import begin, shop
from tests.waiting import poll

ORDERS = 600  # some packs
POINTS: tuple[Point, ...] = (
    "bulk operation begun, not kept",
    "pack stored, not committed",
    "pack committed, not announced",
)


async def test_a_worker_may_die_at_any_point(database: str, tmp_path: Path) -> None:
    async with shop(database, tmp_path, Setup(sizes=Sizes(orders=ORDERS))) as one:
        doomed = await one.worker(dies_at=POINTS[0])
        identifier = await begin(doomed.client)
        assert await doomed.process.wait() == -signal.SIGKILL
        for point in POINTS[1:]:
            doomed = await one.worker(dies_at=point)
            assert await doomed.process.wait() == -signal.SIGKILL
        await one.local()
        row = await one.over(identifier)
        assert (row["status"], row["accepted"], row["repeated"], row["attempt"]) == (
            "completed",
            ORDERS,
            0,
            1,
        )
        assert len(await one.operations()) == 1
        assert await one.times_accepted() == [1] * ORDERS
        await poll(lambda: one.worked_on(ORDERS))
