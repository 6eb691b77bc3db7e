"""Keeps calls within their shops' points: they wait, by lane, for one level of each shop that all processes share.

The level is in Postgres (`store`). A process leases points for the calls it has, and a little more while there are
plenty; so most calls take theirs from memory. Each shop has a line of its own: none waits for another.

Without Postgres a process goes on alone, with a small part of each shop's rate.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import asyncpg

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.shopify.admin import metrics, store
from libs.common.shopify.admin.alone import Alone
from libs.common.shopify.admin.budget import Ask, Lease
from libs.common.shopify.admin.costs import Bucket
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.shop_budget import ShopBudget

_AWAY_SECONDS = 2.0  # for which Postgres is not asked again after it was away
_FORGET_SECONDS = 86_400.0
_FORGET_EVERY = 3_600.0
_RECENT_SECONDS = 60.0

_log = logs.logger("shopify")


class Budgets:
    """The budgets of the shops that this process calls."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        clock: Clock,
        *,
        timeout: float = 1.0,  # for one word with Postgres, before going on alone
        most_waiting: int = 64,  # calls of one shop; further ones are postponed at once
        size: int = 10_000,
    ) -> None:
        self._pool, self._clock, self._timeout = pool, clock, timeout
        self._most_waiting, self._size = most_waiting, size
        self._shops: OrderedDict[str, ShopBudget] = OrderedDict()
        self._alone = Alone(clock)
        self._away_until = float("-inf")

    async def take(self, shop: str, cost: float, lane: ApiLane, until: float) -> None:
        """Waits for points until a moment of the monotonic clock; raises `Throttled` where they come later."""
        await self._of(shop).take(cost, lane, until)

    def settle(self, shop: str, taken: float, used: float, bucket: Bucket | None) -> None:
        """What became of points that were taken, and what Shopify told meanwhile."""
        self._of(shop).settle(taken, used, bucket)

    def emptiest(self) -> float:
        """The least of what is available of a maximum, over the shops called lately; 1 where none was."""
        ratios = (budget.ratio(_RECENT_SECONDS) for budget in self._shops.values())
        return min((ratio for ratio in ratios if ratio is not None), default=1.0)

    async def forget_for_ever(self) -> None:
        """Keeps the table free of shops that are not called any more."""
        while True:
            try:
                async with connection(self._pool, self._timeout) as conn:
                    with database_away_named():
                        await store.forget(conn, _FORGET_SECONDS, self._timeout)
            except DatabaseAway:
                pass  # an hour later is as good
            await self._clock.sleep(_FORGET_EVERY)

    async def close(self) -> None:
        """Brings back what was leased and not spent."""
        await asyncio.gather(*(budget.close() for budget in self._shops.values()))

    def _of(self, shop: str) -> ShopBudget:
        budget = self._shops.get(shop)
        if budget is None:
            budget = self._shops[shop] = ShopBudget(self._leaser(shop), self._clock, self._most_waiting)
            self._make_room()
        else:
            self._shops.move_to_end(shop)
        return budget

    def _make_room(self) -> None:
        """Leaves out the shops not called for longest; one with calls under way only moves back in the queue."""
        for _ in range(len(self._shops) - self._size):
            shop, budget = self._shops.popitem(last=False)
            if budget.busy:
                self._shops[shop] = budget

    def _leaser(self, shop: str) -> Callable[[Ask], Awaitable[Lease]]:
        async def lease(ask: Ask) -> Lease:
            found = await self._shared(shop, ask)
            if found is None:
                metrics.LEASES.labels("alone").inc()
                return self._alone.lease(shop, ask)
            self._alone.learn(shop, found)
            metrics.LEASES.labels(_result(ask, found)).inc()
            return found

        return lease

    async def _shared(self, shop: str, ask: Ask) -> Lease | None:
        """Asks Postgres; None where it is away."""
        if self._clock.monotonic() < self._away_until:
            return None
        try:
            async with connection(self._pool, self._timeout) as conn:
                with database_away_named():
                    return await store.lease(conn, shop, ask, self._timeout)
        except DatabaseAway:
            _log.warning("Postgres is away: this process calls Shopify at a small part of each shop's rate.")
        except asyncpg.PostgresError:
            _log.exception("The shared budget cannot be asked: this process goes on at a small part of it.")
        self._away_until = self._clock.monotonic() + _AWAY_SECONDS
        return None


def _result(ask: Ask, lease: Lease) -> str:
    if ask.need <= 0:
        return "returned"
    return "granted" if lease.granted else "not_yet"
