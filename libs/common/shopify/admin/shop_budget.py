"""One shop's points in one process: who waits for them, what is leased, and what goes back."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from libs.common import logs
from libs.common.clock import Clock
from libs.common.shopify.admin import metrics
from libs.common.shopify.admin.budget import AHEAD, FLOORS, OLD, UNKNOWN, Ask, Lease, Seen, cap
from libs.common.shopify.admin.costs import Bucket
from libs.common.shopify.admin.errors import Throttled
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.line import Line, Waiter
from libs.common.shopify.admin.purse import Purse

_SLICE = 0.25  # seconds' worth of points that one lease takes beyond the call that is first
_FLUSH = 0.1  # seconds after which points go back, if no lease has taken them along
_SHORTEST, _LONGEST = 0.02, 0.25  # seconds between two asks for points that are not there
_SOONEST = 1.0  # seconds: a call that is sent away does not come back earlier

_log = logs.logger("shopify")


class ShopBudget:
    """Gives out points in the order of lanes. `lease` asks for them; it never fails."""

    def __init__(self, lease: Callable[[Ask], Awaitable[Lease]], clock: Clock, most_waiting: int) -> None:
        self._lease, self._clock, self._most_waiting = lease, clock, most_waiting
        self._line, self._purse = Line(), Purse()
        self._returned = 0.0
        self._bucket: Bucket | None = None
        self._told_at = 0.0
        self._news = False  # Shopify has told something that Postgres does not know
        self._last: Lease | None = None
        self._nudge = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._promised: Waiter | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether anybody waits, or anything has still to go back."""
        return self._task is not None

    async def take(self, cost: float, lane: ApiLane, until: float) -> None:
        """Waits for points; raises `Throttled` as soon as it is clear that they come too late."""
        now = self._clock.monotonic()
        if not len(self._line) and self._purse.spend(cost, now):
            return
        if len(self._line) >= self._most_waiting:
            raise self._too_late(cost, lane)
        waiter = Waiter(lane, cost, now, until, asyncio.get_running_loop().create_future())
        self._line.add(waiter)
        self._nudge.set()
        self._work()
        await self._turn(waiter)
        if (waited := self._clock.monotonic() - now) > _SHORTEST:
            metrics.WAITED.labels(lane.name.lower()).observe(waited)

    def settle(self, taken: float, used: float, bucket: Bucket | None) -> None:
        self._returned += taken - used
        if bucket is not None:
            self._bucket, self._told_at, self._news = bucket, self._clock.monotonic(), True
        if len(self._line):
            self._nudge.set()
        if self._news or self._returned:
            self._work()

    def ratio(self, recent: float) -> float | None:
        """What is available of the maximum, by Shopify's last word and the time since; None if that is long ago."""
        age = self._clock.monotonic() - self._told_at
        if self._bucket is None or age > recent:
            return None
        return min(1.0, (self._bucket.available + self._bucket.restore_rate * age) / self._bucket.maximum)

    async def close(self) -> None:
        """Brings back what is left; nobody gets points any more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._returned += self._purse.expired(float("inf"))
        if self._returned:
            await self._asked(Ask(0.0))

    async def _turn(self, waiter: Waiter) -> None:
        try:
            async with asyncio.timeout(waiter.until - self._clock.monotonic()):
                await waiter.turn
        except TimeoutError:
            if not waiter.served:
                raise self._too_late(waiter.cost, waiter.lane) from None
        except asyncio.CancelledError:
            if waiter.served:
                self.settle(waiter.cost, 0.0, None)  # it had its points, and will not use them
            raise

    def _too_late(self, cost: float, lane: ApiLane) -> Throttled:
        last = self._last
        maximum, rate = (last.maximum, last.rate) if last else (UNKNOWN.maximum, UNKNOWN.restore_rate)
        available = last.available if last else 0.0
        short = self._line.before(lane) + cost + FLOORS[lane] * cap(maximum, rate) - available
        seconds = max(_SOONEST, short / rate) * random.uniform(1.0, 1.2)
        metrics.POSTPONED.labels(lane.name.lower()).inc()
        return Throttled(seconds, f"the shop's points for the Admin API are used up for {seconds:.1f} s")

    def _work(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._serve(), name="points of a shop")
            self._task.add_done_callback(self._served)

    def _served(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Giving out a shop's points failed.", exc_info=error)
            self._line.fail(error)
        if (
            self._line.first is not None or self._news or self._returned
        ):  # since it ended, and before it was noticed
            self._work()

    async def _serve(self) -> None:
        """Until nobody waits and nothing has to go back."""
        while True:
            self._returned += self._purse.expired(self._clock.monotonic())
            if (first := self._line.first) is not None:
                await self._serve_one(first)
            elif self._news or self._returned or self._purse:
                await self._pause(_FLUSH)
                if self._line.first is None and (self._news or self._returned):
                    await self._asked(Ask(0.0))
            else:
                return

    async def _serve_one(self, first: Waiter) -> None:
        now = self._clock.monotonic()
        if self._purse.spend(first.cost, now):
            first.turn.set_result(None)
            return
        ready_at = self._purse.ready_at(first.cost)
        if ready_at is not None and (ready_at - now <= AHEAD or first is self._promised):
            await self._pause(ready_at - now)
            return
        lease = await self._asked(self._ask(first, now))
        if lease.granted:
            self._purse.add(lease.points, max(now + lease.wait, self._clock.monotonic()))
            self._promised = first
        elif lease.wait > first.until - now and not first.turn.done():
            first.turn.set_exception(self._too_late(0.0, first.lane))
        else:
            await self._pause(min(max(lease.wait - AHEAD, _SHORTEST), _LONGEST))

    def _ask(self, first: Waiter, now: float) -> Ask:
        rate = self._last.rate if self._last else UNKNOWN.restore_rate
        old = now - first.since > OLD
        return Ask(
            first.cost, first.lane, more=self._line.behind(first, rate * _SLICE), spare=rate * _SLICE,
            patience=max(AHEAD, first.until - now) if old else AHEAD,
        )  # fmt: skip

    async def _asked(self, ask: Ask) -> Lease:
        """Asks, and takes along what goes back and what Shopify told."""
        age = self._clock.monotonic() - self._told_at
        seen = Seen(self._bucket, age) if self._news and self._bucket is not None else None
        returned, self._returned, self._news = self._returned, 0.0, False
        whole = Ask(ask.need, ask.lane, ask.more, ask.spare, ask.patience, returned, seen)
        self._last = await self._lease(whole)
        return self._last

    async def _pause(self, seconds: float) -> None:
        """Until the time has passed or something is new."""
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            pass
