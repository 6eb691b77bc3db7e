"""A costly answer that concurrent callers share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from libs.common.clock import Clock

T = TypeVar("T")


class Recent(Generic[T]):
    """Asks again only when the last answer is `seconds` old, or as old as it took to find, and never twice at once."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Clock, *, seconds: float) -> None:
        self._ask, self._clock, self._seconds = ask, clock, seconds
        self._asking: asyncio.Task[T] | None = None
        self._fresh_until = clock.monotonic()

    async def get(self) -> T:
        """The answer; raises what asking raised."""
        if self._asking is None or (self._asking.done() and self._clock.monotonic() >= self._fresh_until):
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(_seen)
        return await asyncio.shield(
            self._asking
        )  # one caller that hangs up must not take the answer from others

    async def _renew(self) -> T:
        started = self._clock.monotonic()
        try:
            answer = await self._ask()
        except BaseException:
            self._fresh_until = started
            raise
        now = self._clock.monotonic()
        self._fresh_until = now + max(self._seconds, now - started)
        return answer


def _seen(task: "asyncio.Task[T]") -> None:
    """Whoever asked hears of an error; if all have hung up, nobody needs to."""
    if not task.cancelled():
        task.exception()
