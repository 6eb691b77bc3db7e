"""Shoppers who are not there: what the web pixel would send of their visits, for any shop, from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from uuid import UUID, uuid4

from services.sandbox.payloads import payload
from services.sandbox.scene import Json, handle_of, store_of
from services.sandbox.storefront import Product, product_of
from services.sandbox.visit_context import Browser

_GOODS = 12  # products that a shop's visitors find
_PAUSE_SECONDS = (0.4, 12.0)  # between two things that a shopper does

# How many go on: a funnel of the usual shape.
_SEARCHES, _SHOWS_INTEREST, _ADDS, _REMOVES, _CHECKS_OUT, _GOES_ON = 0.25, 0.75, 0.4, 0.15, 0.55, 0.9
_STEPS = (
    ("checkout_contact_info_submitted", "contact"),
    ("checkout_address_info_submitted", "address"),
    ("checkout_shipping_info_submitted", "shipping"),
    ("payment_info_submitted", "payment"),
    ("checkout_completed", "thank-you"),
)


@dataclass(slots=True)
class Shopper:
    """One browser: its visits follow each other, and its events are numbered through."""

    shop: str
    goods: tuple[Product, ...]
    draw: Random
    seq: int = 0
    browser: Browser = field(init=False)
    client_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.browser = Browser.drawn(self.shop, self.draw)
        self.client_id = str(UUID(int=self.draw.getrandbits(128), version=4))

    def events(self, count: int, until: datetime) -> list[Json]:
        """The next events, the last of them at this time."""
        events = list(islice(self._visits(), count))
        moment = until
        for event in reversed(events):
            event["timestamp"] = f"{moment:%Y-%m-%dT%H:%M:%S.}{moment.microsecond // 1000:03d}Z"
            moment -= timedelta(seconds=self.draw.uniform(*_PAUSE_SECONDS))
        return events

    def _visits(self) -> Iterator[Json]:
        while True:
            yield from self._visit()

    def _visit(self) -> Iterator[Json]:
        yield from self._page("/", store_of(self.shop).name)
        product = self.draw.choice(self.goods)
        yield from self._search(product) if self._likely(_SEARCHES) else self._collection(product)
        if not self._likely(_SHOWS_INTEREST):
            return
        variant = self.draw.choice(product.variants)
        yield from self._page(f"/products/{product.handle}?variant={variant['id']}", product.title)
        yield self._event("product_viewed", {"productVariant": variant})
        if self._likely(_ADDS):
            yield from self._cart(product, variant)

    def _collection(self, product: Product) -> Iterator[Json]:
        yield from self._page(f"/collections/{handle_of(product.kind)}", product.kind)
        found = [one.variants[0] for one in self.goods if one.kind == product.kind]
        number = str(store_of(self.shop).id)
        collection = {"id": number, "title": product.kind, "productVariants": found}
        yield self._event("collection_viewed", {"collection": collection})

    def _search(self, product: Product) -> Iterator[Json]:
        query = product.title.split()[0].strip(",").lower()
        yield from self._page(f"/search?q={query}", "Search")
        found = [one.variants[0] for one in self.goods if query in one.title.lower()]
        yield self._event("search_submitted", {"searchResult": {"query": query, "productVariants": found}})

    def _cart(self, product: Product, variant: Json) -> Iterator[Json]:
        quantity = self.draw.choice((1, 1, 1, 2, 3))
        line = {
            "cost": {"totalAmount": _times(variant["price"], quantity)},
            "merchandise": variant,
            "quantity": quantity,
        }
        yield self._event("product_added_to_cart", {"cartLine": line})
        yield from self._page("/cart", "Your cart")
        cart = {
            "id": _token(self.draw), "attributes": [], "cost": line["cost"], "lines": [line], "totalQuantity": quantity,
        }  # fmt: skip
        yield self._event("cart_viewed", {"cart": cart})
        if self._likely(_REMOVES):
            yield self._event("product_removed_from_cart", {"cartLine": line})
        elif self._likely(_CHECKS_OUT):
            yield from self._checkout(product, line)

    def _checkout(self, product: Product, line: Json) -> Iterator[Json]:
        checkout = _checkout(self.draw, product, line)
        yield from self._page("/checkouts/cn/contact", "Checkout")
        yield self._event("checkout_started", {"checkout": dict(checkout)})
        for name, step in _STEPS:
            if not self._likely(_GOES_ON):
                return
            if name == "checkout_completed":
                yield from self._page("/checkouts/cn/thank-you", "Thank you")
                customer = {"id": str(self.draw.randrange(10**12, 10**13)), "isFirstOrder": self._likely(0.7)}
                checkout["order"] = {"id": str(self.draw.randrange(10**12, 10**13)), "customer": customer}
            self.browser.stand_on(f"/checkouts/cn/{step}", "Checkout")
            yield self._event(name, {"checkout": dict(checkout)})

    def _page(self, path: str, title: str) -> Iterator[Json]:
        self.browser.go_to(path, title)
        yield self._event("page_viewed", {})

    def _event(self, name: str, data: Json) -> Json:
        self.seq += 1
        return {
            "id": f"sh-{uuid4()}", "clientId": self.client_id, "name": name, "type": "standard",
            "seq": self.seq, "timestamp": "", "context": self.browser.context(), "data": data,
        }  # fmt: skip

    def _likely(self, share: float) -> bool:
        return self.draw.random() < share


def goods(shop: str, seed: int, now: datetime) -> tuple[Product, ...]:
    """What is on a shop's shelves, the same for the same seed."""
    made = (payload("products/create", shop, seed=seed, number=number, now=now) for number in range(_GOODS))
    return tuple(product_of(product, store_of(shop).currency) for product in made)


def _checkout(draw: Random, product: Product, line: Json) -> Json:
    total, currency = line["cost"]["totalAmount"], line["cost"]["totalAmount"]["currencyCode"]
    shipping = {"amount": 5.0, "currencyCode": currency}
    item = {
        "id": line["merchandise"]["id"], "title": product.title, "quantity": line["quantity"], "properties": [],
        "variant": line["merchandise"], "discountAllocations": [], "finalLinePrice": total,
        "sellingPlanAllocation": None,
    }  # fmt: skip
    return {
        "token": _token(draw), "order": None, "currencyCode": currency, "attributes": [], "discountApplications": [],
        "email": None, "phone": None, "billingAddress": None, "shippingAddress": None,  # who they are is not told
        "lineItems": [item], "shippingLine": {"price": shipping}, "subtotalPrice": total,
        "totalPrice": {**total, "amount": round(total["amount"] + shipping["amount"], 2)},
        "totalTax": {**total, "amount": 0.0}, "transactions": [],
        "localization": {"country": {"isoCode": "DE"}, "language": {"isoCode": "en"}, "market": None},
    }  # fmt: skip


def _times(price: Json, quantity: int) -> Json:
    return {**price, "amount": round(price["amount"] * quantity, 2)}


def _token(draw: Random) -> str:
    return f"{draw.getrandbits(128):032x}"
