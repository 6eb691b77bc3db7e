"""Serving what was kept where Shopify gives nothing just now."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from libs.common.shopify.admin import metrics
from libs.common.shopify.admin.errors import AdminError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """A value, and the error instead of which it was served; without one it is fresh."""

    value: T
    instead_of: AdminError | None = None

    @property
    def stale(self) -> bool:
        return self.instead_of is not None


async def fresh_or_cached(call: Callable[[], Awaitable[T]], cached: Callable[[], T | None]) -> Served[T]:
    """What the call gives. Where it fails in a way that passes: what was kept, if anything was; else the error."""
    try:
        return Served(await call())
    except AdminError as error:
        kept = cached() if error.cached_may_serve else None
        if kept is None:
            raise
        metrics.FROM_CACHE.inc()
        return Served(kept, error)
