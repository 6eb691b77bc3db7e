"""Four processes share each shop's points: never more than there are, and hardly less."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from libs.common.shopify.admin import metrics
from libs.common.shopify.admin.lanes import ApiLane
from tests.integration.admin_kit import QUERY, admin_client
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
    database: str, shopify: AdminStandIn, bucket: Bucket, seconds: float, *, settling: float = 2.0,
    lane: ApiLane = ApiLane.ORDERS, **variables: int,
) -> Share:  # fmt: skip
    shopify.buckets[BUSY] = bucket
    async with AsyncExitStack() as stack:
        callers = [calling(database, shopify, BUSY, lane=lane, variables=variables) for _ in range(PROCESSES)]
        await asyncio.gather(*(stack.enter_async_context(caller) for caller in callers))
        await poll(lambda: bucket.now() < bucket.maximum * 0.7, within=30)
        await asyncio.sleep(settling)  # until each process knows what its query costs, and the plenty is gone
        before, used = time.monotonic(), bucket.used
        await asyncio.sleep(seconds)
        share = (bucket.used - used) / (bucket.rate * (time.monotonic() - before))
    return Share(share, bucket.lowest, shopify.throttled[BUSY])


CALLS = [
    pytest.param(ApiLane.ORDERS, {"cost": 20}, id="orders"),
    pytest.param(
        ApiLane.BACKFILL, {"cost": 60, "actual": 25}, id="a backfill that uses less than it reserves"
    ),
]


@pytest.mark.parametrize(("lane", "variables"), CALLS)
async def test_four_processes_use_what_is_restored_and_never_more(
    database: str, shopify: AdminStandIn, lane: ApiLane, variables: dict[str, int]
) -> None:
    shopify.answer_seconds = 0.1
    share = await shared(database, shopify, Bucket(maximum=2_000, rate=400), 4, lane=lane, **variables)
    assert share.throttled == 0
    assert share.lowest >= 0
    assert share.used >= 0.95


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("maximum", "rate"), [(2_000, 100), (20_000, 1_000)])
@pytest.mark.parametrize(("lane", "variables"), CALLS)
async def test_over_minutes_and_on_every_plan(
    database: str,
    shopify: AdminStandIn,
    lane: ApiLane,
    variables: dict[str, int],
    maximum: float,
    rate: float,
) -> None:
    shopify.answer_seconds = 0.3
    costs = {
        name: round(points * rate / 100) for name, points in variables.items()
    }  # as many calls on every plan
    bucket = Bucket(maximum=maximum, rate=rate)
    share = await shared(database, shopify, bucket, 60, settling=20, lane=lane, **costs)
    assert share.throttled == 0
    assert share.lowest >= 0
    assert share.used >= 0.95


async def test_no_shop_waits_for_another(database: str, shopify: AdminStandIn) -> None:
    shopify.buckets[BUSY] = Bucket(maximum=500, rate=20)
    async with (
        calling(database, shopify, BUSY, at_once=50, variables={"cost": 50}),
        admin_client(database, shopify) as admin,
    ):
        await poll(lambda: shopify.buckets[BUSY].now() < 250, within=30)
        waits = metrics.WAITED.labels("orders")._sum.get()
        for _ in range(30):
            await admin.graphql(QUIET, QUERY)
        assert (
            metrics.WAITED.labels("orders")._sum.get() - waits < 5
        )  # more than a minute's worth of the other's points
        assert shopify.throttled == Counter()


async def test_privacy_goes_before_a_backfill_without_end(database: str, shopify: AdminStandIn) -> None:
    bucket = shopify.buckets[BUSY] = Bucket(maximum=2_000, rate=50)
    async with (
        calling(database, shopify, BUSY, lane=ApiLane.BACKFILL, variables={"cost": 100}),
        admin_client(database, shopify) as admin,
    ):
        await poll(lambda: bucket.now() < 1_000, within=30)
        waits = metrics.WAITED.labels("privacy")._sum.get()
        for _ in range(5):
            await admin.graphql(BUSY, QUERY, {"cost": 100}, lane=ApiLane.PRIVACY)
        assert metrics.WAITED.labels("privacy")._sum.get() - waits < 5  # ten seconds' worth of points
        assert bucket.lowest >= 0


async def test_a_process_that_dies_takes_no_points_along(database: str, shopify: AdminStandIn) -> None:
    bucket = shopify.buckets[BUSY] = Bucket(maximum=1_000, rate=200)
    async with calling(database, shopify, BUSY, variables={"cost": 20}) as dying:
        await poll(lambda: bucket.now() < 600, within=30)
        dying.process.kill()
    async with admin_client(database, shopify) as admin:
        for _ in range(20):
            await admin.graphql(BUSY, QUERY, {"cost": 20}, timeout=5)
    assert bucket.lowest >= 0
    assert shopify.throttled[BUSY] == 0
