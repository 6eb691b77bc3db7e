"""What Shopify says a query has cost, and what is left in the shop's bucket (SHOPIFY 6.3). No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MOST = 1e7  # points; a larger figure is a fault, and reckoning with it would be one too


@dataclass(frozen=True, slots=True)
class Bucket:
    """A shop's bucket as Shopify describes it, in points and points per second."""

    maximum: float
    available: float
    restore_rate: float


@dataclass(frozen=True, slots=True)
class Cost:
    """`requested` is reserved before a query runs; what it did not use of it, `actual` being less, is given back."""

    requested: float
    actual: float | None = None  # None: it did not run
    bucket: Bucket | None = None


def read_cost(extensions: object) -> Cost | None:
    """The cost in an answer's `extensions`; None where none is told, or none that can be."""
    told = _members(_members(extensions).get("cost"))
    requested = _points(told.get("requestedQueryCost"))
    if requested is None:
        return None
    return Cost(
        requested, _points(told.get("actualQueryCost")), _bucket(_members(told.get("throttleStatus")))
    )


def _bucket(told: Mapping[str, Any]) -> Bucket | None:
    maximum, rate = _points(told.get("maximumAvailable")), _points(told.get("restoreRate"))
    available = _points(told.get("currentlyAvailable"))
    if not maximum or not rate or available is None:
        return None
    return Bucket(maximum, min(available, maximum), rate)


def _points(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        return None
    return float(value)


def _members(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
