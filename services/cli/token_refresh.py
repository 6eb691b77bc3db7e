"""Every shop's token renewed, one after the other at Shopify's pace, beside services that are running."""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from libs.common.clock import Clock
from libs.common.errors import ShopbusError
from services.auth import rotation
from services.auth.rotation import Again
from services.cli.token_work import Step, Tools, progress

_AT_ONCE = 3  # each holds one of the pool's connections while Shopify is asked
_TRIES = 5
_MOST_FAILED_AT_FIRST = 10
_LONGEST_HOLD = 60.0  # seconds


class NoneRefreshed(ShopbusError):
    """Shopify took none of the first shops' tokens: something is wrong with all of them."""


@dataclass(slots=True)
class Refreshed:
    """What became of the shops, and of their staff's sessions."""

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    online: int = 0
    left: int = 0  # still of another secret


class Pace:
    """At most so many requests a second, and none while Shopify asks for a rest."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock, self._pause, self._next = clock, 1 / rate, 0.0

    async def turn(self) -> None:
        """Waits for the next request's time."""
        now = self._clock.monotonic()
        at = max(now, self._next)
        self._next = at + self._pause
        await self._clock.sleep(at - now)

    def hold(self, seconds: float) -> None:
        """Nobody asks for so long."""
        self._next = max(self._next, self._clock.monotonic() + min(seconds, _LONGEST_HOLD))


async def shops_left(tools: Tools) -> list[str]:
    """The shops that are to be refreshed."""
    return [shop async for shop in rotation.shops_left(tools.pool, tools.tokens, tools.timeout)]


async def refresh(tools: Tools, rate: float) -> Refreshed:
    """Renews all that is left, and ends online sessions of other secrets; raises `NoneRefreshed`."""
    total, shops = Refreshed(), await shops_left(tools)
    with progress("refreshing", len(shops)) as step:
        run = _Run(tools, Pace(tools.clock, rate), total, deque(shops), step)
        await _together(run.work() for _ in range(_AT_ONCE))
    if run.hopeless():
        why = next(iter(total.failed.values()))
        raise NoneRefreshed(f"none of the first {len(total.failed)} shops was refreshed: {why}")
    total.online = await rotation.end_online(tools.pool, tools.tokens, tools.timeout)
    total.left = len(await shops_left(tools))
    return total


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs them side by side; the first to fail ends the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


@dataclass(slots=True)
class _Run:
    tools: Tools
    pace: Pace
    total: Refreshed
    shops: deque[str]
    step: Step
    tries: Counter[str] = field(default_factory=Counter)

    async def work(self) -> None:
        while self.shops and not self.hopeless():
            shop = self.shops.popleft()
            await self.pace.turn()
            self._note(shop, await rotation.refresh(self.tools.tokens, shop))

    def _note(self, shop: str, outcome: str | Again | None) -> None:
        self.tries[shop] += 1
        if isinstance(outcome, Again):
            self.pace.hold(outcome.seconds)
            if self.tries[shop] < _TRIES:
                self.shops.append(shop)
                return
            outcome = outcome.why
        if outcome is None:
            self.total.done += 1
        else:
            self.total.failed[shop] = outcome
        self.step()

    def hopeless(self) -> bool:
        """Whether all the others would only fail as well."""
        return not self.total.done and len(self.total.failed) >= _MOST_FAILED_AT_FIRST
