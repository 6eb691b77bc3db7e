"""The sandbox store throttles, drops, delays and lies; four processes share its shops' points all the same.

It keeps Shopify's books: what a query costs, what is reserved while it runs, and how low each bucket has been.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from libs.common.shopify.admin.budget import FLOORS
from libs.common.shopify.admin.lanes import ApiLane
from services.sandbox.admin_api.buckets import Rate
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from tests.integration.admin_process import calling
from tests.integration.auth_kit import running
from tests.integration.backfill_kit import KEYS
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.waiting import poll

ONE, OTHER = "sandbox-001.myshopify.com", "sandbox-002.myshopify.com"
PROCESSES = 4
SEED = 52  # a draw in which each fault comes early
ORDERS = "query Load($first: Int!) { orders(first: $first) { nodes { id } } }"
FAULTS = {
    Mishap.TOO_MANY: 0.05, Mishap.CUT_OFF: 0.01, Mishap.UNTOLD: 0.01, Mishap.PARTIAL: 0.05,
    Mishap.LYING: 0.2, Mishap.SLOW: 0.6,
}  # fmt: skip
# What is lost on the way there counts as spent, as nobody knows better: so a share of the points is never used.
LOST = {Mishap.BROKEN: 0.0025, Mishap.UNHEARD: 0.0025}


def weather(**more: float) -> Weather:
    return Weather(
        {**FAULTS, **{Mishap(name): share for name, share in more.items()}}, Random(SEED), delay=0.2
    )


@dataclass(frozen=True)
class Stores:
    """Two stores that have the app, and a real auth."""

    sandbox: Sandbox
    auth_url: str

    @property
    def url(self) -> str:
        return self.sandbox.settings.store_url


@asynccontextmanager
async def two_stores(database: str, folder: Path, setup: Setup) -> AsyncIterator[Stores]:
    async with (
        sandbox(folder, setup=setup) as stores,
        running(database, sandbox_store_url=stores.settings.store_url, **KEYS) as auth,
    ):
        for shop in (ONE, OTHER):
            await stores.installed("read_orders", shop=shop)
            token = await stores.session_token(shop=shop)
            assert (await auth.exchange(shop, token=token))[0] == 200
        yield Stores(stores, str(auth.client._base_url))


async def used(
    stores: Stores, shop: str, seconds: float, *, settling: float, lane: ApiLane = ApiLane.ORDERS
) -> float:
    """The share of the points restored in a time that was spent, once the first plenty was gone."""
    bucket = await stores.sandbox.bucket(shop)
    plenty = (FLOORS[lane] + 0.2) * bucket["maximumAvailable"]

    async def gone() -> bool:
        return (await stores.sandbox.bucket(shop))["currentlyAvailable"] < plenty

    await poll(gone, within=60)
    await asyncio.sleep(settling)
    before, started = await stores.sandbox.bucket(shop), time.monotonic()
    await asyncio.sleep(seconds)
    after, elapsed = await stores.sandbox.bucket(shop), time.monotonic() - started
    return (after["spent"] - before["spent"]) / (bucket["restoreRate"] * elapsed)


@asynccontextmanager
async def processes(
    database: str, stores: Stores, *shops: str, lane: ApiLane = ApiLane.ORDERS, first: int
) -> AsyncIterator[None]:
    """Four of them, each with eight callers of each shop."""
    async with AsyncExitStack() as stack:
        callers = [
            calling(database, stores, *shops, lane=lane, query=ORDERS, variables={"first": first})
            for _ in range(PROCESSES)
        ]
        await asyncio.gather(*(stack.enter_async_context(caller) for caller in callers))
        yield


@asynccontextmanager
async def a_stranger(stores: Stores, shop: str) -> AsyncIterator[list[bool]]:
    """Somebody else who spends a shop's points, as another program of the same app does: whether each was throttled."""
    token, throttled = (await stores.sandbox.installed("read_orders", shop=shop)).access_token, list[bool]()

    async def spend() -> None:
        while True:
            async with stores.sandbox.ask_api(token, ORDERS, shop=shop, first=10) as answer:
                throttled.append("THROTTLED" in await answer.text())

    task = asyncio.create_task(spend())
    try:
        yield throttled
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_on_a_bad_day_four_processes_use_what_is_restored_and_no_other_shops_throttle_slows_them(
    database: str, tmp_path: Path
) -> None:
    bad, worse = weather(), Weather({Mishap.SLOW: 0.5}, Random(SEED), delay=0.2)
    setup = Setup(
        sizes=Sizes(orders=10), rates={ONE: Rate(200, 1_000), OTHER: Rate(20, 200)},
        api_weather=bad, api_weathers={OTHER: worse},
    )  # fmt: skip
    async with two_stores(database, tmp_path, setup) as stores:
        async with (
            a_stranger(stores, OTHER) as turned_away,
            processes(database, stores, ONE, OTHER, first=10),
        ):
            share = await used(stores, ONE, seconds=5, settling=1)
        one, other = await stores.sandbox.bucket(ONE), await stores.sandbox.bucket(OTHER)
    assert bad.seen.keys() >= FAULTS.keys()
    assert other["throttled"] > sum(turned_away)  # the processes too
    assert one["throttled"] == 0
    assert one["lowest"] >= 0
    assert (
        share >= 0.8
    )  # of five seconds, which a busy machine shortens; the long ones are as strict as the promise


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("rate", [100, 1_000])
@pytest.mark.parametrize(
    ("lane", "asked"),
    [
        pytest.param(ApiLane.ORDERS, 1.0, id="orders"),
        pytest.param(ApiLane.BACKFILL, 1.5, id="a backfill that uses less than it reserves"),
    ],
)
async def test_over_minutes_of_bad_days_on_every_plan(
    database: str, tmp_path: Path, lane: ApiLane, asked: float, rate: float
) -> None:
    bad = weather(**LOST)
    orders = round(rate / 6)  # as many calls on every plan
    setup = Setup(sizes=Sizes(orders=orders), rate=Rate(rate, 20 * rate), api_weather=bad)
    async with two_stores(database, tmp_path, setup) as stores:
        async with processes(database, stores, ONE, lane=lane, first=round(orders * asked)):
            share = await used(stores, ONE, seconds=60, settling=10, lane=lane)
        bucket = await stores.sandbox.bucket(ONE)
    assert bad.seen.keys() >= FAULTS.keys() | LOST.keys()
    assert bucket["throttled"] == 0
    assert bucket["lowest"] >= 0
    assert share >= 0.95
