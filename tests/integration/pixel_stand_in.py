"""Shopify's web pixels for tests: one for each shop, made, changed and removed as the Admin API does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

from tests.integration.admin_stand_in import AdminStandIn, admin_standing_in

Json = dict[str, Any]


@dataclass
class PixelShops:
    """What Shopify knows of each shop's pixel, and what it is to do wrong once."""

    shopify: AdminStandIn
    pixels: dict[str, Json] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    hidden: int = 0  # how often the pixel is not shown though it is there: another process has just made it
    down: bool = False
    numbers: Any = field(default_factory=lambda: count(1))

    async def answer(self, request: web.Request, body: Json) -> web.StreamResponse:
        """In the place of the stand-in's own answer."""
        if self.down:
            return web.Response(status=503)
        shop, query, variables = request.match_info["shop"], body["query"], body["variables"]
        for name, work in {
            "webPixelCreate": self._create, "webPixelUpdate": self._update, "webPixelDelete": self._delete,
        }.items():  # fmt: skip
            if name in query:
                self.calls.append(name)
                return web.json_response({"data": {name: work(shop, variables)}})
        if "primaryDomain" in query:
            return web.json_response({"data": {"shop": {"primaryDomain": {"host": f"www.{shop}.example"}}}})
        return web.json_response(self._show(shop))

    def _show(self, shop: str) -> Json:
        if shop not in self.pixels or self.hidden:
            self.hidden = max(0, self.hidden - 1)
            error = {"message": "No web pixel was found for this app.", "path": ["webPixel"]}
            return {"data": {"webPixel": None}, "errors": [error]}
        return {"data": {"webPixel": self.pixels[shop]}}

    def _create(self, shop: str, variables: Json) -> Json:
        if shop in self.pixels:
            return _refusal("TAKEN")
        self.pixels[shop] = {"id": f"gid://shopify/WebPixel/{next(self.numbers)}", **variables["webPixel"]}
        return {"webPixel": self.pixels[shop], "userErrors": []}

    def _update(self, shop: str, variables: Json) -> Json:
        if shop not in self.pixels or self.pixels[shop]["id"] != variables["id"]:
            return _refusal("NOT_FOUND")
        self.pixels[shop] |= variables["webPixel"]
        return {"webPixel": self.pixels[shop], "userErrors": []}

    def _delete(self, shop: str, variables: Json) -> Json:
        if shop not in self.pixels:
            return _refusal("NOT_FOUND")
        del self.pixels[shop]
        return {"deletedWebPixelId": variables["id"], "userErrors": []}


def _refusal(code: str) -> Json:
    return {"webPixel": None, "userErrors": [{"code": code, "field": None, "message": code.lower()}]}


@asynccontextmanager
async def pixel_shops() -> AsyncIterator[PixelShops]:
    async with admin_standing_in() as shopify:
        shops = PixelShops(shopify)
        shopify.before = shops.answer
        yield shops
