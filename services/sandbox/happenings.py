"""What happens in a store when somebody presses a button: the resource changes, and the webhooks go out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.sandbox.news import News
from services.sandbox.scene import Json, store_of
from services.sandbox.stock import EVERYTHING, Stock
from services.sandbox.store import Row, SortKey

CHANGES = (
    *("orders/create", "orders/updated", "orders/paid", "orders/cancelled", "orders/delete"),
    *("products/create", "products/update", "products/delete"),
    *("customers/create", "customers/update", "customers/delete"),
)
_NAMED_ORDERS = 10


class Impossible(LookupError):
    """It cannot happen here."""


@dataclass(frozen=True, slots=True)
class Happenings:
    """Makes things happen."""

    stock: Stock
    news: News

    @property
    def topics(self) -> tuple[str, ...]:
        return (*CHANGES, *self._requests)

    async def happen(self, shop: str, topic: str, number: int | None = None) -> Json:
        """One thing, now: what the webhook says. Raises `Impossible`."""
        await self.stock.open_in_pieces(shop)
        facts = self._facts(shop, topic, number)
        self.news.happened(shop, topic, facts)
        return facts

    def _facts(self, shop: str, topic: str, number: int | None) -> Json:
        if topic in CHANGES:
            try:
                return self.stock.happen(shop, topic, number)[1]
            except LookupError as error:
                raise Impossible(str(error)) from error
        if topic in self._requests:
            return self._requests[topic](shop, number)
        raise Impossible(f"the sandbox does not know how {topic} happens")

    @property
    def _requests(self) -> Mapping[str, Callable[[str, int | None], Json]]:
        return {
            "customers/data_request": self._data_request,
            "customers/redact": self._redaction,
            "shop/redact": lambda shop, _: _of_shop(shop),
        }

    def _data_request(self, shop: str, number: int | None) -> Json:
        person = self._person(shop, number)
        identifier = int(self.stock.clock.now().timestamp() * 1000)
        return {
            **self._concerned(person),
            "orders_requested": self._orders_of(person),
            "data_request": {"id": identifier},
        }

    def _redaction(self, shop: str, number: int | None) -> Json:
        person = self._person(shop, number)
        return {**self._concerned(person), "orders_to_redact": self._orders_of(person)}

    def _person(self, shop: str, number: int | None) -> Row:
        """The customer with a number, else the one who was there first."""
        shelves = self.stock.shelves
        if number is not None:
            found = shelves.by_number(shop, "customers", number)
        else:
            first = shelves.page(shop, "customers", EVERYTHING, key=SortKey.CREATED_AT, limit=1)
            found = first[0] if first else None
        if found is None:
            raise Impossible(f"{shop} has no such customer")
        return found

    def _concerned(self, person: Row) -> Json:
        facts = self.stock.facts(person)
        return {**_of_shop(person.shop), "customer": {key: facts[key] for key in ("id", "email", "phone")}}

    def _orders_of(self, person: Row) -> list[int]:
        return [order.id for order in self.stock.orders_of(person, limit=_NAMED_ORDERS)]


def _of_shop(shop: str) -> Json:
    return {"shop_id": store_of(shop).id, "shop_domain": shop}
