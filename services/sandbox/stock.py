"""A store's products, customers and orders: made when somebody first looks, changed by what happens there.

A row says which resource, in which state, since when; everything else about it is made up from the seed by the same
makers as every webhook's payload. So the Admin API, a bulk operation and a webhook tell the same.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from random import Random

from cachetools import LRUCache

from libs.common.clock import Clock
from services.sandbox.payloads import BUILDERS
from services.sandbox.scene import Cast, Json, Scene
from services.sandbox.search import Search
from services.sandbox.store import Place, Row, Shelves, SortKey

_DAY = 86_400
_BEGINNINGS = ("created_at", "processed_at", "published_at")
_REMEMBERED = 2_000  # payloads of products and customers, which many orders name
_CHUNK = 250
EVERYTHING = Search()

# The state that a topic leaves an order in: whether it is open, and Shopify's word for its payment.
_ORDER_STATES: Mapping[str, tuple[str, str]] = {
    "orders/create": ("open", "pending"),
    "orders/updated": ("open", "pending"),
    "orders/paid": ("open", "paid"),
    "orders/cancelled": ("cancelled", "voided"),
}
_ORDER_TOPICS = ("orders/paid",) * 7 + ("orders/create", "orders/updated", "orders/cancelled")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a store has at first, and over how many days its orders came."""

    orders: int = 250
    products: int = 40
    customers: int = 60
    days: int = 50  # an app without read_all_orders sees the last 60 days
    seed: int = 2026


@dataclass(frozen=True, slots=True)
class Stock:
    """All stores' goods and books."""

    shelves: Shelves
    clock: Clock
    sizes: Sizes = field(default_factory=Sizes)
    _one_opens: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _known: "LRUCache[tuple[str, str, int], Json | None]" = field(
        default_factory=lambda: LRUCache(_REMEMBERED), repr=False
    )
    _made: "LRUCache[Row, Json]" = field(default_factory=lambda: LRUCache(_REMEMBERED), repr=False)

    def open(self, shop: str) -> None:
        """Makes the first goods of a store that nobody has looked at yet."""
        for _ in self._opening(shop):
            pass

    async def open_in_pieces(self, shop: str) -> None:
        """The same for a store of any size: meanwhile others are answered."""
        async with self._one_opens:
            for _ in self._opening(shop):
                await asyncio.sleep(0)

    def _opening(self, shop: str) -> Iterator[None]:
        """Puts the goods on the shelves, a few at a time. Products come last: where they are, all is there."""
        if self.shelves.next_number(shop, "products"):
            return
        now, sizes = int(self.clock.now().timestamp()), self.sizes
        counts = (("customers", sizes.customers), ("orders", sizes.orders), ("products", sizes.products))
        for kind, count in counts:
            rows = self._first(shop, kind, count, now)
            while chunk := list(islice(rows, _CHUNK)):
                with self.shelves.together():
                    self.shelves.put(chunk)
                yield

    def _first(self, shop: str, kind: str, count: int, now: int) -> Iterator[Row]:
        """Rows in the order in which they came into being, the last one just now."""
        draw = Random(f"{self.sizes.seed}:{shop}:{kind}:stock")
        span = self.sizes.days * _DAY
        for number in range(count):
            created = now - span + span * (number + 1) // count
            topic = draw.choice(_ORDER_TOPICS) if kind == "orders" else f"{kind}/update"
            updated = min(now, created + draw.randrange(2, _DAY))
            yield self._row(shop, kind, number, topic, created, updated)

    def happen(self, shop: str, topic: str, number: int | None = None) -> tuple[Row, Json]:
        """Something happens in an opened store to a resource, to the one that rested longest if none is named.

        Gives the row as it is then, and what a webhook tells.

        Raises `LookupError` where there is none that it could happen to.
        """
        kind, _, action = topic.partition("/")
        now = int(self.clock.now().timestamp())
        self._known.clear()
        if action == "create":
            row = self._row(shop, kind, self.shelves.next_number(shop, kind), topic, now, now)
            self.shelves.put([row])
            return row, self.facts(row)
        row = self._chosen(shop, kind, number)
        if action == "delete":
            self.shelves.remove(row)
            return row, {"id": row.id}
        status, payment = self._state(shop, kind, row.number, topic)
        row = replace(row, topic=topic, status=status, payment=payment, updated_at=max(now, row.updated_at))
        self.shelves.put([row])
        return row, self.facts(row)

    def _chosen(self, shop: str, kind: str, number: int | None) -> Row:
        if number is not None:
            found = self.shelves.by_number(shop, kind, number)
        else:
            oldest = self.shelves.page(shop, kind, EVERYTHING, key=SortKey.UPDATED_AT, limit=1)
            found = oldest[0] if oldest else None
        if found is None:
            raise LookupError(f"{shop} has no such {kind}")
        return found

    def facts(self, row: Row) -> Json:
        """All about a resource, as its webhooks carry it. It follows from the row alone, but for an order's goods."""
        if row.kind == "orders":
            return self._facts(row)
        made = self._made.get(row)
        if made is None:
            made = self._made[row] = self._facts(row)
        return made

    def _facts(self, row: Row) -> Json:
        scene = Scene.of(
            row.shop, row.kind, seed=self.sizes.seed, number=row.number, now=_moment(row.updated_at)
        )
        if row.kind == "orders":
            scene = replace(scene, cast=self._cast(row))
        made = BUILDERS[row.topic](scene)
        created = _moment(row.created_at).astimezone(scene.store.zone).isoformat(timespec="seconds")
        return made | {name: created for name in _BEGINNINGS if name in made}

    def customer_of(self, order: Row) -> Row | None:
        """Who bought; None where the store has forgotten the person."""
        return self.shelves.by_number(order.shop, "customers", self._buyer(order))

    def orders_of(self, customer: Row, *, limit: int) -> list[Row]:
        """The first orders of a customer."""
        step = max(self.sizes.customers, 1)
        end = self.shelves.next_number(customer.shop, "orders")
        numbers = range(customer.number, end, step) if customer.number < step else range(0)
        found = (self.shelves.by_number(customer.shop, "orders", number) for number in numbers)
        return list(islice((row for row in found if row), limit))

    def rows(
        self, shop: str, kind: str, search: Search, *, key: SortKey = SortKey.ID, reverse: bool = False
    ) -> Iterator[Row]:
        """All that match, page by page."""
        after = None
        while page := self.shelves.page(
            shop, kind, search, key=key, limit=_CHUNK, after=after, reverse=reverse
        ):
            yield from page
            after = Place(page[-1].value(key), page[-1].id)

    def _row(self, shop: str, kind: str, number: int, topic: str, created: int, updated: int) -> Row:
        scene = Scene.of(shop, kind, seed=self.sizes.seed, number=number, now=_moment(updated))
        status, payment = self._state(shop, kind, number, topic)
        return Row(shop, kind, number, scene.id(), topic, status, payment, created, updated)

    def _state(self, shop: str, kind: str, number: int, topic: str) -> tuple[str, str]:
        if kind == "orders":
            return _ORDER_STATES[topic]
        scene = Scene.of(shop, kind, seed=self.sizes.seed, number=number, now=self.clock.now())
        return (BUILDERS[topic](scene)["status"], "") if kind == "products" else ("", "")

    def _cast(self, order: Row) -> Cast:
        """Whom and what an order is about: a customer and products that the store has."""
        bought = ((order.number * 7 + place * 3) % max(self.sizes.products, 1) for place in range(3))
        shelf = [self._remembered(order.shop, "products", number) for number in bought]
        customer = self._remembered(order.shop, "customers", self._buyer(order))
        return Cast(customer, tuple(product for product in shelf if product))

    def _buyer(self, order: Row) -> int:
        return order.number % max(self.sizes.customers, 1)

    def _remembered(self, shop: str, kind: str, number: int) -> Json | None:
        """What many orders name, made once; None where it is gone."""
        key = (shop, kind, number)
        if key not in self._known:
            row = self.shelves.by_number(shop, kind, number)
            self._known[key] = self.facts(row) if row else None
        return self._known[key]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
