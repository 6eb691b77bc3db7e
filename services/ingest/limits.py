"""How much a public key and an address may send, over all processes of the service.

A bucket in Postgres holds what is left of each limit. Asking it for every request would cost more than the request, so
a process asks for slices and spends them by itself; and what comes slowly it lets through without asking at all. So N
processes let through at most `rate x seconds + burst` and each of them 5 % of that more, however it is spread over them
(docs/decisions/0012).
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from libs.common.clock import Clock
from libs.common.outbox.group_commit import GroupCommit
from services.ingest.store import Ask

FREE = 0.05  # of the limit, which a process lets through on its own account
SLICE_SECONDS = 0.25  # of the rate, taken at once
_KEPT = 100_000  # buckets in memory; the least recently used are forgotten, with what is left of their slices
_SOONEST, _LATEST = 0.1, 60.0  # seconds for which nobody asks again after an empty bucket

Lease = Callable[[Sequence[Ask]], Awaitable[Mapping[str, float]]]
"""Asks Postgres for tokens of some buckets; each is named once."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many events a second, and so many at once."""

    rate: float
    burst: float


@dataclass(slots=True)
class _Bucket:
    free: float
    free_at: float  # on the monotonic clock
    leased: float = 0.0
    dry_until: float = 0.0


class Limits:
    """The buckets of one kind, in one process."""

    def __init__(self, kind: str, limit: Limit, lease: Lease, clock: Clock) -> None:
        self._kind, self._limit, self._clock = kind, limit, clock
        self._free = Limit(limit.rate * FREE, max(1.0, limit.burst * FREE))
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._slice = limit.rate * SLICE_SECONDS
        self._asks: GroupCommit[Ask, float] = GroupCommit(
            lambda asks: _leased(lease, asks, self._slice), size=lambda _: 1, writers=1
        )

    def refused(self, name: str) -> float | None:
        """For how many seconds there is nothing for this name, as far as is known without asking."""
        bucket = self._buckets.get(name)
        left = bucket.dry_until - self._clock.monotonic() if bucket else 0.0
        return left if left > 0 else None

    async def take(self, name: str, wanted: float) -> float | None:
        """Takes tokens; returns None, or for how many seconds there are not enough. Raises `DatabaseAway`."""
        if (left := self.refused(name)) is not None:
            return left
        bucket, wanted = self._bucket(name), min(wanted, self._limit.burst)
        if self._spend(bucket, wanted):
            return None
        missing = wanted - bucket.leased
        ask = Ask(f"{self._kind}:{name}", self._limit.rate, self._limit.burst, missing)
        granted = await self._asks.submit(ask)  # added afterwards: others spend meanwhile
        bucket.leased += granted
        if self._spend(bucket, wanted):
            return None
        wait = min(_LATEST, max(_SOONEST, (wanted - bucket.leased) / self._limit.rate))
        bucket.dry_until = self._clock.monotonic() + wait
        return wait

    async def close(self) -> None:
        """Waits for what is being asked."""
        await self._asks.close()

    def _bucket(self, name: str) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._free.burst, self._clock.monotonic())
            if len(self._buckets) > _KEPT:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket

    def _spend(self, bucket: _Bucket, wanted: float) -> bool:
        now = self._clock.monotonic()
        bucket.free = min(self._free.burst, bucket.free + (now - bucket.free_at) * self._free.rate)
        bucket.free_at = now
        if bucket.free + bucket.leased < wanted:
            return False
        own = min(bucket.free, wanted)
        bucket.free -= own
        bucket.leased -= wanted - own
        return True


async def _leased(lease: Lease, asks: Sequence[Ask], spare: float) -> list[float | Exception]:
    """One ask for each name, shared by those who asked; the first of them also gets a slice for those to come."""
    wanted: dict[str, float] = {}
    for ask in asks:
        wanted[ask.name] = wanted.get(ask.name, spare) + ask.wanted
    firsts = {ask.name: ask for ask in reversed(asks)}
    granted = dict(
        await lease([replace(ask, wanted=min(ask.burst, wanted[name])) for name, ask in firsts.items()])
    )
    shares: list[float | Exception] = []
    for ask in reversed(asks):  # what is left in the end is the first one's
        share = granted[ask.name] if ask is firsts[ask.name] else min(ask.wanted, granted[ask.name])
        granted[ask.name] -= share
        shares.append(share)
    return shares[::-1]
