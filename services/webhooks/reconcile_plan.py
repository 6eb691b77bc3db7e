"""What is compared with Shopify, which hours are due, and what is missing of a resource. No I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from libs.common.contracts.subscriptions import WANTED, Wanted

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of resource that has an `updated_at`, and the topics that tell of it."""

    name: str  # as the Admin API's list is called
    single: str  # as its single is called
    scope: str
    update: str  # the topic that any change is told by
    moments: Mapping[str, str] = field(hash=False)  # topics that tell of one moment, by the API's field of it
    whole: tuple[str, ...]  # topics whose payload is the whole resource

    def types(self) -> dict[str, str]:
        """The topics by their message type."""
        return {f"webhook.{topic.replace('/', '.')}": topic for topic in self.whole}


_ORDERS = ("create", "updated", "paid", "cancelled", "fulfilled", "partially_fulfilled")
_CUSTOMERS = ("create", "update", "enable", "disable")
FAMILIES = (
    Family(
        "orders",
        "order",
        "read_orders",
        "orders/updated",
        {"orders/create": "createdAt", "orders/cancelled": "cancelledAt"},
        tuple(f"orders/{what}" for what in _ORDERS),
    ),
    Family(
        "products",
        "product",
        "read_products",
        "products/update",
        {"products/create": "createdAt"},
        ("products/create", "products/update"),
    ),
    Family(
        "customers",
        "customer",
        "read_customers",
        "customers/update",
        {"customers/create": "createdAt"},
        tuple(f"customers/{what}" for what in _CUSTOMERS),
    ),
)


def judged(wanted: Sequence[Wanted] = WANTED) -> tuple[Family, ...]:
    """The families of which every change is wanted, and their moments that are; nothing can be said of others."""
    everything = {one.topic for one in wanted if not one.filter}
    whole = (family for family in FAMILIES if family.update in everything)
    return tuple(
        replace(one, moments={topic: at for topic, at in one.moments.items() if topic in everything})
        for one in whole
    )


@dataclass(frozen=True, slots=True)
class Changed:
    """A resource as Shopify lists it."""

    id: int
    updated_at: datetime
    moments: Mapping[str, datetime]  # by topic


@dataclass(frozen=True, slots=True)
class Arrival:
    """The newest that has come of a resource."""

    updated_at: datetime
    topics: frozenset[str]  # of those that tell of a moment
    fed_at: datetime | None = (
        None  # the newest state of which something was fed that has not come late either
    )


def lost(
    family: Family, changed: Changed, known: Arrival | None, since: datetime
) -> dict[str, datetime | None]:
    """The topics that should have told of it and did not, each with its moment; the newest state has none.

    A moment before `since` was told to nobody, or so long ago that it is not known any more.
    """
    told = known.topics if known else frozenset[str]()
    found: dict[str, datetime | None] = {
        topic: at for topic, at in changed.moments.items() if at >= since and topic not in told
    }
    behind = known is None or known.updated_at < changed.updated_at
    just_made = any(changed.moments[one] >= changed.updated_at for one in found if one.endswith("/create"))
    return {**found, family.update: None} if behind and not just_made else found


@dataclass(frozen=True, slots=True)
class Looked:
    """An hour of the ledger."""

    until: datetime
    missing: int
    checked_at: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A time without gaps that is looked at in one go."""

    start: datetime
    end: datetime

    def hours(self) -> Iterator["Span"]:
        """Each hour's part of it."""
        start = self.start
        while start < self.end:
            end = min(hour_of(start) + HOUR, self.end)
            yield Span(start, end)
            start = end


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def second_of(moment: datetime) -> datetime:
    """Shopify writes `updated_at` to the second, and some payloads more exactly."""
    return moment.replace(microsecond=0)


def due(
    whole: Span, known: Mapping[datetime, Looked], now: datetime, *, begun: datetime, partial: bool = False
) -> list[Span]:
    """What has to be looked at: each hour once it is over, when a day old, and by every run while something is missing.

    The hour in which `whole` ends is looked at where a person asks (`partial`).
    """
    hours = (span for span in whole.hours() if partial or span.end == hour_of(span.start) + HOUR)
    return list(_joined(span for span in hours if _is_due(span, known.get(hour_of(span.start)), now, begun)))


def _is_due(span: Span, known: Looked | None, now: datetime, begun: datetime) -> bool:
    if known is None or known.until < span.end or (known.missing and known.checked_at < begun):
        return True
    settled = hour_of(span.start) + HOUR + DAY  # deliveries may be up to a day late (SHOPIFY 4.3)
    return known.checked_at < settled <= now


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbours as one."""
    open_span: Span | None = None
    for span in spans:
        if open_span is not None and open_span.end == span.start:
            open_span = Span(open_span.start, span.end)
            continue
        if open_span is not None:
            yield open_span
        open_span = span
    if open_span is not None:
        yield open_span
