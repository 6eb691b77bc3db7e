"""Shopify's side of the pixel: made, changed and removed through the Admin API. One app has one pixel on a shop."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from libs.common import logs
from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.client import AdminClient
from libs.common.shopify.admin.errors import AdminError, QueryRefused, UserErrors
from libs.common.shopify.admin.lanes import ApiLane

SHOW = "query WebPixel { webPixel { id settings } }"
CREATE = """
mutation CreateWebPixel($webPixel: WebPixelInput!) {
  webPixelCreate(webPixel: $webPixel) { webPixel { id settings } userErrors { code field message } }
}
"""
UPDATE = """
mutation UpdateWebPixel($id: ID!, $webPixel: WebPixelInput!) {
  webPixelUpdate(id: $id, webPixel: $webPixel) { webPixel { id settings } userErrors { code field message } }
}
"""
DELETE = """
mutation DeleteWebPixel($id: ID!) {
  webPixelDelete(id: $id) { deletedWebPixelId userErrors { code field message } }
}
"""
HOST = "query ShopHost { shop { primaryDomain { host } } }"
_FIELD = "webPixel"
_TAKEN, _NOT_FOUND = "TAKEN", "NOT_FOUND"
_TRIES = 3  # somebody else may make or remove the pixel between two calls

_log = logs.logger("ingest")


@dataclass(frozen=True, slots=True)
class Pixel:
    """The pixel as Shopify has it."""

    id: str
    settings: Mapping[str, Any]


class Pixels:
    """Calls Shopify; raises what `AdminClient.graphql` raises, `UserErrors` among it."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    async def show(self, shop: str) -> Pixel | None:
        """The shop's pixel. Where there is none, Shopify says so by an error (SHOPIFY 5.2)."""
        try:
            answer = await self._admin.graphql(shop, SHOW, lane=ApiLane.CATALOGUE, may_lack=_FIELD)
        except QueryRefused as error:
            if any(found.path == (_FIELD,) for found in error.errors):
                return None
            raise
        return _pixel(answer.data.get("webPixel"))

    async def keep(self, shop: str, settings: Mapping[str, str]) -> Pixel:
        """Makes the pixel with these settings, or gives them to the one there is."""
        pixel = await self.show(shop)
        for _ in range(_TRIES - 1):
            try:
                return await self._set(shop, pixel, settings)
            except UserErrors as error:
                if not _codes(error) & {_TAKEN, _NOT_FOUND}:
                    raise
                pixel = await self.show(shop)
        return await self._set(shop, pixel, settings)

    async def remove(self, shop: str) -> None:
        """Removes the pixel; one that is not there is removed."""
        pixel = await self.show(shop)
        if pixel is None:
            return
        try:
            (await self._ask(shop, DELETE, id=pixel.id)).done("webPixelDelete")
        except UserErrors as error:
            if _NOT_FOUND not in _codes(error):
                raise

    async def host(self, shop: str) -> str | None:
        """Where the shop's pages are; None where Shopify does not tell: events are marked then, and no more."""
        try:
            answer = await self._ask(shop, HOST)
        except AdminError as error:
            _log.warning("Shopify does not tell the shop's host.", shop=shop, error=str(error))
            return None
        domain = (answer.data.get("shop") or {}).get("primaryDomain") or {}
        host = domain.get("host")
        return host if isinstance(host, str) else None

    async def _set(self, shop: str, pixel: Pixel | None, settings: Mapping[str, str]) -> Pixel:
        if pixel is None:
            return _kept(
                (await self._ask(shop, CREATE, webPixel={"settings": dict(settings)})), "webPixelCreate"
            )
        if pixel.settings == settings:
            return pixel
        answer = await self._ask(shop, UPDATE, id=pixel.id, webPixel={"settings": dict(settings)})
        return _kept(answer, "webPixelUpdate")

    async def _ask(self, shop: str, query: str, **variables: object) -> Answer:
        return await self._admin.graphql(shop, query, variables, lane=ApiLane.CATALOGUE)


def _kept(answer: Answer, mutation: str) -> Pixel:
    pixel = _pixel(answer.done(mutation).get("webPixel"))
    if pixel is None:
        raise QueryRefused(f"{mutation} was done and gives no pixel")
    return pixel


def _pixel(given: Any) -> Pixel | None:
    """Settings are a JSON value, which some of Shopify's versions write as a text."""
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        return None
    settings = given.get("settings")
    if isinstance(settings, str):
        try:
            settings = orjson.loads(settings)
        except orjson.JSONDecodeError:
            settings = None
    return Pixel(given["id"], settings if isinstance(settings, dict) else {})


def _codes(error: UserErrors) -> set[str | None]:
    return {one.code for one in error.user_errors}
