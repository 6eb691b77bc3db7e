"""Four processes share each shop's points: never more than there are, and hardly less."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from libs.common.shopify.admin.lanes import ApiLane
from tests.integration.admin_process import calling
from tests.integration.admin_stand_in import AdminStandIn, Bucket, admin_standing_in
from tests.waiting import poll

BUSY, QUIET = "busy.myshopify.com", "quiet.myshopify.com"
PROCESSES = 4


@pytest.fixture
async def shopify() -> AsyncIterator[AdminStandIn]:
    async with admin_standing_in() as standing_in:
        yield standing_in


@dataclass(frozen=True)
class Share:
    """What four processes made of one shop's points once the first plenty was gone."""

    used: float  # of the points restored meanwhile, 0 to 1
    lowest: float  # points that were left when the bucket was emptiest
    throttled: int


async def shared(
    database: str, shopify: AdminStandIn, bucket: Bucket, seconds: float, *, lane: ApiLane = ApiLane.ORDERS,
    **variables: int,
) -> Share:  # fmt: skip
    shopify.buckets[BUSY] = bucket
    async with AsyncExitStack() as stack:
        callers = [calling(database, shopify, BUSY, lane=lane, **variables) for _ in range(PROCESSES)]
        await asyncio.gather(*(stack.enter_async_context(caller) for caller in callers))
        await poll(lambda: bucket.now() < bucket.maximum * 0.7, within=30)
        await asyncio.sleep(2)  # the last of the plenty
        before, used = time.monotonic(), bucket.used
        await asyncio.sleep(seconds)
        share = (bucket.used - used) / (bucket.rate * (time.monotonic() - before))
    return Share(share, bucket.lowest, shopify.throttled[BUSY])


@pytest.mark.parametrize(
    ("lane", "variables"),
    [
        (ApiLane.ORDERS, {"cost": 20}),
        (ApiLane.BACKFILL, {"cost": 60, "actual": 25}),
    ],
)
async def test_four_processes_never_overdraw(
    database: str, shopify: AdminStandIn, lane: ApiLane, variables: dict[str, int]
) -> None:
    shopify.answer_seconds = 0.1
    share = await shared(database, shopify, Bucket(maximum=2_000, rate=400), 4, lane=lane, **variables)
    print(share)
    assert (share.throttled, share.lowest >= 0) == (0, True)
    assert share.used >= 0.95
