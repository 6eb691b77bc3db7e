"""What a store sells, as its storefront's pixels see it: products and collections, the same at every visit."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from services.sandbox.catalog import PRODUCTS
from services.sandbox.ledger import Ledger
from services.sandbox.payloads import payload
from services.sandbox.scene import Json, handle_of, store_of

_SEED = 1
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Product:
    """A product with its variants in the shape of Shopify's web pixel events."""

    handle: str
    title: str
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


@lru_cache(maxsize=64)
def products(shop: str) -> tuple[Product, ...]:
    """One product of each title that the catalogue has."""
    found: dict[str, Product] = {}
    number = 0
    while len(found) < len(PRODUCTS):
        number += 1
        made = payload("products/create", shop, seed=_SEED, number=number, now=datetime.now(UTC))
        found.setdefault(made["title"], _product(made, store_of(shop).currency))
    return tuple(sorted(found.values(), key=lambda product: product.title))


def collections(shop: str) -> tuple[Collection, ...]:
    """All products, and those of each kind."""
    everything = products(shop)
    kinds = sorted({product.kind for product in everything})
    return (
        Collection("", _ALL, "Products", everything),
        *(_collection(shop, kind, [p for p in everything if p.kind == kind]) for kind in kinds),
    )


def search(shop: str, query: str) -> tuple[Product, ...]:
    """Products with every word of a query in title, vendor or kind."""
    words = query.lower().split()
    return tuple(p for p in products(shop) if words and all(w in _searched(p) for w in words))


def pixel_settings(ledger: Ledger, shop: str) -> dict[str, str] | None:
    """What the app's pixel runs with on a shop; None where the app is not installed or has activated none."""
    store = ledger.look(shop)
    return store.web_pixel.settings if store.installed and store.web_pixel else None


def _searched(product: Product) -> str:
    return f"{product.title} {product.vendor} {product.kind}".lower()


def _collection(shop: str, kind: str, chosen: list[Product]) -> Collection:
    return Collection(str(store_of(shop).id + len(kind)), handle_of(kind), kind, tuple(chosen))


def _product(made: Json, currency: str) -> Product:
    return Product(
        handle=made["handle"],
        title=made["title"],
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
