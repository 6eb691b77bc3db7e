"""Who asks for a shop's points at the wrong moment gets them all the same."""

import asyncio

from libs.common.clock import SystemClock
from libs.common.shopify.admin.budget import Ask, Lease
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.shop_budget import ShopBudget
from tests.waiting import poll


async def test_a_call_that_comes_just_when_nobody_waited_any_more_is_served() -> None:
    clock = SystemClock()
    late: list[asyncio.Task[None]] = []

    async def lease(ask: Ask) -> Lease:
        if ask.need:
            return Lease(ask.need, 0.0, available=100.0, maximum=100.0, rate=50.0)
        if not late:  # the last that the one who serves does; the call begins before its end is noticed
            late.append(asyncio.create_task(budget.take(1.0, ApiLane.ORDERS, clock.monotonic() + 5.0)))
        return Lease(0.0, 0.0, available=100.0, maximum=100.0, rate=50.0)

    budget = ShopBudget(lease, clock, most_waiting=8)
    await budget.take(1.0, ApiLane.ORDERS, clock.monotonic() + 5.0)
    budget.settle(1.0, 0.5, None)
    await poll(lambda: late)
    await late[0]
    await budget.close()


async def test_once_closed_nothing_is_left_running_and_what_was_left_has_gone_back() -> None:
    returned: list[float] = []

    async def lease(ask: Ask) -> Lease:
        returned.append(ask.returned)
        return Lease(100.0 if ask.need else 0.0, 0.0, 900.0, 1_000.0, 50.0)

    clock = SystemClock()
    budget = ShopBudget(lease, clock, most_waiting=8)
    await budget.take(10.0, ApiLane.ORDERS, clock.monotonic() + 5)
    budget.settle(10.0, 4.0, None)
    await budget.close()
    await asyncio.sleep(0)
    assert not budget.busy
    assert sum(returned) == 96.0
