"""Public keys of shops' pixels, as the app's own page sees and makes them: with a session token, over HTTP.

A store of the sandbox is installed and its pixel switched on where that is missing. A merchant's shop is left as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from libs.common.clock import SystemClock
from libs.common.shopify.access_tokens import AppCredentials
from services.cli.api import Json, answer_of, away
from services.cli.errors import Refused, ServerAway
from services.sandbox.stage import INSTALL, Stage

_EXTENSION, _SANDBOX = "/ingest/extension", "/sandbox"
_OTHER_APP = "the server has another SHOPIFY_API_KEY or SHOPIFY_API_SECRET than the one used here"
_NOT_ON = "the pixel is not switched on for {}: switch it on in the app, or give a key with --key"


@dataclass(frozen=True, slots=True)
class Merchants:
    """Who owns the shops, at a running shopbus."""

    http: aiohttp.ClientSession  # keeps cookies: it is a browser
    base: URL
    app: AppCredentials

    async def keys(self, shops: list[str]) -> dict[str, str]:
        """The key of each shop's pixel; raises `Refused` for a shop that has none and is not the sandbox's."""
        return {shop: await self._key(shop) for shop in shops}

    async def _key(self, shop: str) -> str:
        extension = answer_of(*await self._ask("GET", shop))
        if (key := _current(extension)) is None:
            if not await self._plays_shopify():
                raise Refused(_NOT_ON.format(shop))
            key = _current(await self._switched_on(shop))
        if key is None:
            raise Refused(_NOT_ON.format(shop))
        return key

    async def _switched_on(self, shop: str) -> Json:
        status, content = await self._ask("PUT", shop)
        if status == HTTPStatus.NOT_FOUND:
            await self._install(shop)
            status, content = await self._ask("PUT", shop)
        return answer_of(status, content)

    async def _install(self, shop: str) -> None:
        """What a merchant clicks: install, agree, and back to the app."""
        consent = await self._sent_to("GET", self.base.with_path(INSTALL).with_query(shop=shop))
        back = await self._sent_to("POST", consent)
        await self._sent_to("GET", back)

    async def _sent_to(self, method: str, url: URL) -> URL:
        async with self.http.request(method, url, allow_redirects=False) as answer:
            if "Location" not in answer.headers:
                raise Refused(f"installing the app ended with status {answer.status} of {url.path}")
            return URL(answer.headers["Location"], encoded=True)

    async def _plays_shopify(self) -> bool:
        async with self.http.get(self.base.with_path(_SANDBOX)) as answer:
            return answer.status == HTTPStatus.OK

    async def _ask(self, method: str, shop: str) -> tuple[int, bytes]:
        stage = Stage(self.app, str(self.base), "", SystemClock())
        headers = {"Authorization": f"Bearer {stage.session_token(shop)}"}
        async with self.http.request(method, self.base.with_path(_EXTENSION), headers=headers) as answer:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise Refused(_OTHER_APP)
            return answer.status, await answer.read()


async def find_keys(base: URL, app: AppCredentials, shops: list[str]) -> Mapping[str, str]:
    """The key of each shop's pixel at the shopbus there; raises `Refused` or `ServerAway`."""
    cookies = aiohttp.CookieJar(unsafe=True)  # also of an address without a name
    timeout = aiohttp.ClientTimeout(total=30, sock_connect=3)
    try:
        async with aiohttp.ClientSession(cookie_jar=cookies, timeout=timeout) as http:
            return await Merchants(http, base.origin(), app).keys(shops)
    except (aiohttp.ClientError, OSError, TimeoutError):
        raise ServerAway(away(base)) from None


def _current(extension: Json) -> str | None:
    if not extension.get("active"):
        return None
    return next((key["key"] for key in extension["keys"] if key["ends_at"] is None), None)
