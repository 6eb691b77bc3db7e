"""HTTP of the stores' fronts: pages for shoppers, their scripts, and the app's pixel as the extension has it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

from aiohttp import web
from yarl import URL

from libs.common.web import Problem
from services.sandbox.admin_api.pixels import EXTENSION
from services.sandbox.home import at_home, shop_of
from services.sandbox.storefront import Collection, Product
from services.sandbox.storefront_pages import STEPS, StorefrontPages

_TYPES = {".js": "text/javascript", ".css": "text/css"}
_TOKEN = re.compile(r"[0-9a-f]{32}")
_BARE_IMPORT, _STAND_IN = '"@shopify/web-pixels-extension"', '"../storefront/web-pixels-extension.js"'

T = TypeVar("T", Product, Collection)


@dataclass(frozen=True, slots=True)
class StorefrontEndpoints:
    """The handlers, with what they need."""

    pages: StorefrontPages

    def routes(self) -> list[web.RouteDef]:
        base = URL(self.pages.stage.url).path
        store = base + "/{shop}/store"
        return [
            web.get(base + "/storefront/{file}", at_home(self.asset)),
            web.get(base + "/web-pixel/{file}", at_home(self.extension)),
            web.get(store, at_home(self.home)),
            web.get(store + "/collections/{handle}", at_home(self.collection)),
            web.get(store + "/products/{handle}", at_home(self.product)),
            web.get(f"{store}/search", at_home(self.search)),
            web.get(f"{store}/cart", at_home(self.cart)),
            web.get(f"{store}/account", at_home(self.account)),
            web.get(store + "/checkouts/cn/{token}/{step}", at_home(self.checkout)),
        ]

    async def home(self, request: web.Request) -> web.Response:
        return self.pages.home(await self._opened(request))

    async def collection(self, request: web.Request) -> web.Response:
        shop = await self._opened(request)
        return self.pages.collection(shop, _chosen(request, self.pages.storefront.collections(shop)))

    async def product(self, request: web.Request) -> web.Response:
        shop = await self._opened(request)
        return self.pages.product(shop, _chosen(request, self.pages.storefront.products(shop)))

    async def search(self, request: web.Request) -> web.Response:
        return self.pages.search(await self._opened(request), request.query.get("q", "").strip())

    async def cart(self, request: web.Request) -> web.Response:
        return self.pages.cart(await self._opened(request))

    async def account(self, request: web.Request) -> web.Response:
        return self.pages.account(await self._opened(request))

    async def checkout(self, request: web.Request) -> web.Response:
        token, step = request.match_info["token"], request.match_info["step"]
        if not _TOKEN.fullmatch(token) or step not in STEPS:
            raise Problem(404, "there is no such checkout", kind="checkout")
        return self.pages.checkout(await self._opened(request), token, step)

    async def asset(self, request: web.Request) -> web.Response:
        """A script or style of the storefront."""
        return _file(files(__package__).joinpath("static/storefront"), request.match_info["file"])

    async def extension(self, request: web.Request) -> web.Response:
        """A module of the extension as it lies in the repository, with Shopify's package played by the sandbox."""
        answer = _file(EXTENSION.with_name("src"), request.match_info["file"])
        answer.text = (answer.text or "").replace(_BARE_IMPORT, _STAND_IN)
        return answer

    async def _opened(self, request: web.Request) -> str:
        """The shop, with goods on its shelves."""
        shop = shop_of(request)
        await self.pages.storefront.stock.open_in_pieces(shop)
        return shop


def _chosen(request: web.Request, those: Sequence[T]) -> T:
    for one in those:
        if one.handle == request.match_info["handle"]:
            return one
    raise Problem(404, "the store has no such page", kind="page")


def _file(folder: Traversable, name: str) -> web.Response:
    """A file by its name among those that are there, so that no name leads elsewhere."""
    found = next((file for file in folder.iterdir() if file.name == name), None) if folder.is_dir() else None
    kind = _TYPES.get(name[name.rfind(".") :])
    if found is None or kind is None:
        raise Problem(404, "there is no such file", kind="file")
    return web.Response(text=found.read_text(), content_type=kind, headers={"Cache-Control": "no-cache"})
