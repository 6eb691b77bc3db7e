"""The storefront's pages: what a shopper sees, and what the scripts of the page have to know."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache

from aiohttp import web

from services.sandbox.admin_api.pixels import EXTENSION
from services.sandbox.ledger import Ledger
from services.sandbox.rendering import page
from services.sandbox.scene import Json, store_of
from services.sandbox.stage import Stage
from services.sandbox.storefront import Collection, Product, Storefront, pixel_settings

STEPS = ("contact", "address", "shipping", "payment", "thank-you")


@dataclass(frozen=True, slots=True)
class StorefrontPages:
    """Pages of all stores."""

    stage: Stage
    ledger: Ledger
    storefront: Storefront

    def root(self, shop: str) -> str:
        return f"{self.stage.url}/{shop}/store"

    def home(self, shop: str) -> web.Response:
        return self._page(shop, "home", "Home", {}, products=self.storefront.products(shop))

    def collection(self, shop: str, chosen: Collection) -> web.Response:
        data = {"collection": chosen.data}
        return self._page(
            shop, "collection", chosen.title, data, products=chosen.products, chosen=chosen.handle
        )

    def product(self, shop: str, product: Product) -> web.Response:
        data = {"variants": product.variants}
        return self._page(shop, "product", product.title, data, product=product)

    def search(self, shop: str, query: str) -> web.Response:
        found = self.storefront.search(shop, query)
        result = {"query": query, "productVariants": [product.variants[0] for product in found]}
        return self._page(
            shop, "search", "Search", {"searchResult": result if query else None}, products=found, query=query
        )

    def cart(self, shop: str) -> web.Response:
        return self._page(shop, "cart", "Your cart", {})

    def account(self, shop: str) -> web.Response:
        return self._page(shop, "account", "Account", {})

    def checkout(self, shop: str, token: str, step: str) -> web.Response:
        """One step of a checkout; the cart and what the shopper typed stay in the browser."""
        title = "Thank you" if step == STEPS[-1] else f"Checkout: {step}"
        return self._page(shop, "checkout", title, {"token": token, "step": step}, step=step, steps=STEPS)

    def _page(self, shop: str, kind: str, title: str, data: Json, **values: object) -> web.Response:
        pixel = pixel_settings(self.ledger, shop)
        return page(
            f"storefront/{kind}.html",
            root=self.root(shop),
            assets=f"{self.stage.url}/storefront",
            admin=self.stage.admin(shop),
            shop=shop,
            store=store_of(shop),
            title=title,
            collections=self.storefront.collections(shop),
            active=pixel is not None,
            told={
                "shop": self._shop(shop),
                "page": {"kind": kind, **data},
                "pixel": _pixel(pixel),
                "app": self._app(shop),
            },
            **values,
        )

    def _app(self, shop: str) -> Json:
        """Where the page asks the app what arrived, and where it gets the session token for that."""
        session = f"{self.stage.framed_app(shop)}/session_token"
        return {"url": self.stage.app_url, "session": session, "installed": self.ledger.look(shop).installed}

    def _shop(self, shop: str) -> Json:
        store = store_of(shop)
        return {
            "root": self.root(shop),
            "name": store.name,
            "myshopifyDomain": shop,
            "countryCode": store.place[5],
            "currencyCode": store.currency,
        }


def _pixel(settings: dict[str, str] | None) -> Json | None:
    return None if settings is None else {"settings": settings, "purposes": _purposes()}


@lru_cache(maxsize=1)
def _purposes() -> list[str]:
    """What a visitor has to agree to before Shopify loads the pixel, by the extension's own file."""
    if not EXTENSION.exists():
        return ["analytics"]
    described = tomllib.loads(EXTENSION.read_text())
    return [name for name, needed in described["customer_privacy"].items() if needed is True]
