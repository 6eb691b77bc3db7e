"""What a store sells, as its storefront's pixels see it: products and collections, those of the Admin API."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from services.sandbox.ledger import Ledger
from services.sandbox.scene import Json, handle_of, store_of
from services.sandbox.search import Search
from services.sandbox.stock import Stock

_ALL = "all"
_ACTIVE = Search(status="active")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Product:
    """A product with its variants in the shape of Shopify's web pixel events."""

    handle: str
    title: str
    colour: str
    vendor: str
    kind: str
    description: str
    variants: tuple[Json, ...]

    @property
    def price(self) -> Json:
        """Of the cheapest variant."""
        return min((variant["price"] for variant in self.variants), key=lambda price: float(price["amount"]))


@dataclass(frozen=True, slots=True)
class Collection:
    """Products that stand together on a page."""

    id: str
    handle: str
    title: str
    products: tuple[Product, ...]

    @property
    def data(self) -> Json:
        """As `collection_viewed` carries it: with the first variant of each product."""
        first = [product.variants[0] for product in self.products]
        return {"id": self.id, "title": self.title, "productVariants": first}


@dataclass(frozen=True, slots=True)
class Storefront:
    """What the stores' shoppers are shown: whatever of the stock is active."""

    stock: Stock

    def products(self, shop: str) -> tuple[Product, ...]:
        """The first products, by title, of a shop that is open."""
        currency = store_of(shop).currency
        facts = (self.stock.facts(row) for row in islice(self.stock.rows(shop, "products", _ACTIVE), _SHOWN))
        return tuple(sorted((product_of(made, currency) for made in facts), key=lambda found: found.title))

    def collections(self, shop: str) -> tuple[Collection, ...]:
        """All products, and those of each kind."""
        everything = self.products(shop)
        kinds = sorted({product.kind for product in everything})
        return (
            Collection("", _ALL, "Products", everything),
            *(_collection(shop, place, kind, everything) for place, kind in enumerate(kinds, start=1)),
        )

    def search(self, shop: str, query: str) -> tuple[Product, ...]:
        """Products with every word of a query in title, vendor or kind."""
        words = query.lower().split()
        return tuple(p for p in self.products(shop) if words and all(w in _searched(p) for w in words))


def pixel_settings(ledger: Ledger, shop: str) -> dict[str, str] | None:
    """What the app's pixel runs with on a shop; None where the app is not installed or has activated none."""
    store = ledger.look(shop)
    return store.web_pixel.settings if store.installed and store.web_pixel else None


def _searched(product: Product) -> str:
    return f"{product.title} {product.vendor} {product.kind}".lower()


def _collection(shop: str, place: int, kind: str, everything: Sequence[Product]) -> Collection:
    chosen = tuple(product for product in everything if product.kind == kind)
    return Collection(str(store_of(shop).id + place), handle_of(kind), kind, chosen)


def product_of(made: Json, currency: str) -> Product:
    """A product as the storefront shows it, of the payload that webhooks carry."""
    return Product(
        handle=made["handle"],
        title=made["title"],
        colour=made["options"][-1]["values"][0],
        vendor=made["vendor"],
        kind=made["product_type"],
        description=f"{made['title']} by {made['vendor']}: made to last.",
        variants=tuple(_variant(made, variant, currency) for variant in made["variants"]),
    )


def _variant(made: Json, variant: Json, currency: str) -> Json:
    return {
        "id": str(variant["id"]),
        "image": {"src": made["image"]["src"]},
        "price": {"amount": float(variant["price"]), "currencyCode": currency},
        "product": {
            "id": str(made["id"]),
            "title": made["title"],
            "untranslatedTitle": made["title"],
            "url": f"/products/{made['handle']}",
            "vendor": made["vendor"],
            "type": made["product_type"],
        },
        "sku": variant["sku"],
        "title": variant["title"],
        "untranslatedTitle": variant["title"],
    }
