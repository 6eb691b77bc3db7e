"""Answers about shops, kept in memory for a while: bounded by bytes and by count, the longest unused go first.

An answer is fresh for a minute or so. For some time after that it is still there for when Shopify is away; then it
leaves memory whether anybody asks or not, since it may be about people.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from cachetools import Cache, LRUCache

from libs.common.clock import Clock
from libs.common.shopify.admin.degrade import Served, fresh_or_cached
from services.worker import metrics

_OVERHEAD = 1_024  # bytes that an answer takes beside its text
SHARE = 0.25  # of the room, for any one shop: none drives out the answers of all others
SWEEP_SECONDS = 5.0


class Key(NamedTuple):
    """A question: whose shop, which subject, and the rest of it."""

    shop: str
    subject: str
    asked: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it goes out. `missing` names fields that the app may not read."""

    body: bytes
    etag: str
    at: float  # monotonic
    missing: tuple[str, ...] = ()
    lasting: bool = True  # whether asking again would bring the same

    @classmethod
    def of(cls, body: bytes, at: float, missing: tuple[str, ...] = (), *, lasting: bool = True) -> "Answered":
        return cls(body, hashlib.sha256(body).hexdigest()[:32], at, missing, lasting)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many answers, of how many bytes together, fresh for how long and there for how long (seconds)."""

    answers: int
    size: int
    fresh: float
    stale: float


class Found(NamedTuple):
    """What a question came to, and from where: hit, joined, miss or stale."""

    answer: Answered
    source: str


class DataCache:
    """One for a process. Questions that are asked at the same time are asked of Shopify once."""

    def __init__(self, bounds: Bounds, clock: Clock) -> None:
        self._bounds, self._clock = bounds, clock
        self._kept = _Kept(bounds)
        self._asking: dict[Key, asyncio.Task[Answered]] = {}

    async def get(self, key: Key, ask: Callable[[], Awaitable[Answered]]) -> Found:
        """A fresh answer; an older one where Shopify gives none for a reason that passes; else what `ask` raised."""
        kept = self._kept.get(key)
        if kept is not None and self._age(kept) < self._bounds.fresh:
            return _counted(Found(kept, "hit"))
        source = "joined" if key in self._asking else "miss"
        served: Served[Answered] = await fresh_or_cached(lambda: self._once(key, ask), lambda: self._old(key))
        return _counted(Found(served.value, "stale" if served.stale else source))

    def age(self, answer: Answered) -> int:
        """Whole seconds since Shopify gave it."""
        return int(self._age(answer))

    def drop(self, shop: str, subject: str | None = None) -> None:
        """Forgets a shop's answers, or those of one subject. Those under way are not kept either."""
        for key in self._kept.of(shop, subject):
            del self._kept[key]
            self._kept.count("dropped")
        for key in [key for key in self._asking if _is_of(key, shop, subject)]:
            del self._asking[key]

    def drop_all(self) -> None:
        """Forgets everything, as after a time in which nobody could say what changed."""
        self._asking.clear()
        self._kept.count("dropped", len(self._kept))
        self._kept.clear()

    def sweep(self) -> None:
        """Forgets what is too old to be served at all."""
        for key in self._kept.of_before(self._clock.monotonic() - self._bounds.stale):
            del self._kept[key]
            self._kept.count("expired")

    async def sweep_for_ever(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            self.sweep()

    def statistics(self) -> dict[str, Any]:
        """What is kept, within which bounds, and what has left it since the start."""
        return {
            "answers": len(self._kept),
            "bytes": self._kept.currsize,
            "bounds": {"answers": self._bounds.answers, "bytes": self._bounds.size},
            "under_way": len(self._asking),
            **self._kept.ended,
        }

    async def close(self) -> None:
        """Gives up the questions under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        self._kept.clear()

    def _age(self, answer: Answered) -> float:
        return self._clock.monotonic() - answer.at

    def _old(self, key: Key) -> Answered | None:
        kept: Answered | None = self._kept.get(key)
        return kept if kept is not None and self._age(kept) < self._bounds.stale else None

    async def _once(self, key: Key, ask: Callable[[], Awaitable[Answered]]) -> Answered:
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(ask())
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)  # one caller who leaves takes nothing from the others

    def _answered(self, key: Key, done: "asyncio.Future[Answered]") -> None:
        is_wanted = self._asking.get(key) is done  # else it was dropped meanwhile, and may be of before
        if is_wanted:
            del self._asking[key]
        if not done.cancelled() and done.exception() is None and is_wanted and done.result().lasting:
            self._kept.put(key, done.result())


class _Kept(LRUCache[Key, Answered]):
    """The answers by key, and the keys by shop, so that dropping a shop's does not look at all the others."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds.size, getsizeof=lambda answer: len(answer.body) + _OVERHEAD)
        self._most = bounds.answers
        self._keys: dict[str, dict[Key, float]] = defaultdict(
            dict
        )  # with their sizes, the oldest answer first
        self.ended = {"evicted": 0, "expired": 0, "dropped": 0}

    def put(self, key: Key, answer: Answered) -> None:
        """Keeps an answer, unless it alone is larger than all of its shop may be."""
        self.pop(key, None)
        size = self.getsizeof(answer)
        if size > self.maxsize * SHARE:
            return
        self._make_room(key.shop, size)
        self[key] = answer
        self._keys[key.shop][key] = size
        self._show()

    def _make_room(self, shop: str, size: float) -> None:
        """A shop with its full share loses its oldest answer; else whoever's was not asked for longest goes."""
        most, largest = max(1.0, self._most * SHARE), self.maxsize * SHARE - size
        while (kept := self._keys.get(shop)) and (len(kept) + 1 > most or sum(kept.values()) > largest):
            del self[next(iter(kept))]
            self.count("evicted")
        while len(self) >= self._most:
            self.popitem()

    def of(self, shop: str, subject: str | None) -> list[Key]:
        return [key for key in self._keys.get(shop, ()) if _is_of(key, shop, subject)]

    def of_before(self, moment: float) -> list[Key]:
        """Those that are from then or earlier; looking at them is no use of them."""
        return [key for key in self if Cache.__getitem__(self, key).at <= moment]

    def count(self, cause: str, times: int = 1) -> None:
        if times:
            self.ended[cause] += times
            metrics.DATA_ENDINGS.labels(cause).inc(times)

    def popitem(self) -> tuple[Key, Answered]:
        found: tuple[Key, Answered] = super().popitem()
        self.count("evicted")
        return found

    def clear(self) -> None:
        for key in list(self):
            del self[key]

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        self._keys[key.shop].pop(key, None)
        if not self._keys[key.shop]:
            del self._keys[key.shop]
        self._show()

    def _show(self) -> None:
        metrics.DATA_ANSWERS.set(len(self))
        metrics.DATA_BYTES.set(self.currsize)


def _is_of(key: Key, shop: str, subject: str | None) -> bool:
    return key.shop == shop and subject in {None, key.subject}


def _counted(found: Found) -> Found:
    metrics.DATA_REQUESTS.labels(found.source).inc()
    return found
