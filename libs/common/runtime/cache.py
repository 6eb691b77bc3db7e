"""What handlers keep in memory for a while: bounded, per process, gone with it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from cachetools import TLRUCache

from libs.common.clock import Clock

T = TypeVar("T")

_ENTRIES = 10_000


class Cache:
    """Values by key, each for its seconds; when there are too many, those not asked for longest go first.

    It is for what may be a little old, and may be missing: another process has another one. Keys are shared by all
    handlers, so name in them what they are: `("plan", shop)`.
    """

    def __init__(self, clock: Clock, size: int = _ENTRIES) -> None:
        self._kept: TLRUCache[Hashable, tuple[Any, float]] = TLRUCache(
            size, lambda _key, kept, now: now + kept[1], clock.monotonic
        )
        self._making: dict[Hashable, asyncio.Task[Any]] = {}

    def get(self, key: Hashable, default: Any = None) -> Any:
        kept = self._kept.get(key)
        return default if kept is None else kept[0]

    def put(self, key: Hashable, value: Any, seconds: float) -> None:
        self._kept[key] = value, seconds

    def drop(self, key: Hashable) -> None:
        self._kept.pop(key, None)

    async def remember(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """The value kept, else the one made now, by one caller for all who ask meanwhile; an error is not kept."""
        kept = self._kept.get(key)
        if kept is not None:
            value: T = kept[0]
            return value
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._made(key, seconds, make))
            task.add_done_callback(lambda _: self._making.pop(key, None))
        made: T = await asyncio.shield(task)  # one caller who leaves takes nothing from the others
        return made

    async def _made(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        value = await make()
        self.put(key, value, seconds)
        return value
