"""Access tokens of shops, asked of services/auth and kept for a while: what every service but auth uses.

The answers of `GET {AUTH_URL}/internal/auth/shops/{shop}/token`, which it understands:

    200  {"access_token": "…", "scopes": "read_orders", "expires_at": "…T12:00:00Z", "version": 7, "generation": 1}
    404  problem `not-installed`: the app is not installed on the shop
    409  problem `needs-authorization`: the merchant has to open the app once
    503  try later, at the time of `Retry-After`

With `?refused=7` auth gives another token than that version, which Shopify answered with 401.

A token is handed out for a few minutes at most, and never in the last minute of its life. Shopify honours a token that
was replaced until it expires, so a token that is dropped a little late does no harm.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from cachetools import TLRUCache

from libs.common.clock import Clock, SystemClock
from libs.common.errors import ShopbusError
from libs.common.metrics import TOKEN_ENDINGS, TOKEN_FAULTS, TOKEN_FETCHES
from libs.common.runtime.outcomes import Cancelled
from libs.common.service_token import ServiceKey
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.shop_domain import shop_domain
from libs.common.shopify.token_answers import retry_after

AUDIENCE = "auth"
SPARE = timedelta(seconds=60)  # the end of a token's life, in which it is not handed out any more
_ADDRESS_OF_KIND = "urn:shopbus:problem:"


class NoToken(ShopbusError):
    """A shop's access token cannot be had."""


class NotInstalled(NoToken, Cancelled):
    """The app is not installed on this shop: work for it is pointless. A handler that lets it pass is cancelled."""


class NeedsAuthorization(NoToken):
    """The app's access to this shop has ended: the merchant has to open the app once."""


class AuthAway(NoToken):
    """services/auth cannot give a token now; the same request will succeed later."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = after  # seconds, where auth names them


@dataclass(frozen=True, slots=True)
class ShopToken:
    """Access to one shop's data until `expires_at`."""

    shop: str
    access_token: str = field(repr=False)
    scopes: Scopes
    expires_at: datetime
    version: int  # another one with each token that the shop ever had
    generation: int  # which install of the app on this shop it belongs to


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a cache has done since its start."""

    size: int
    hits: int
    joined: int  # callers who waited for a request that another one had begun
    misses: int
    evicted: int
    expired: int
    dropped: int


class TokenClient:
    """Gives tokens to any number of callers with one request under way for each shop."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        auth_url: str,
        key: ServiceKey,
        *,
        caller: str,
        clock: Clock | None = None,
        size: int = 10_000,
        keep_seconds: float = 300.0,
        timeout: float = 20.0,  # auth may have to wait for Shopify
    ) -> None:
        self._http = http
        self._base = f"{auth_url.rstrip('/')}/internal/auth/shops"
        self._key = key
        self._caller = caller
        self._clock = clock or SystemClock()
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._kept = _Kept(size, self._clock, keep_seconds)
        self._asked: dict[str, asyncio.Task[ShopToken]] = {}
        self._hits = self._joined = self._misses = 0

    async def token(self, shop: str) -> ShopToken:
        """The shop's token; raises `NotInstalled`, `NeedsAuthorization`, `AuthAway` or `InvalidShopDomain`."""
        shop = shop_domain(shop)
        found: ShopToken | None = self._kept.get(shop)
        if found is not None:
            self._hits += 1
            TOKEN_FETCHES.labels("hit").inc()
            return found
        return await asyncio.shield(self._asking(shop))  # one caller who leaves takes nothing from the others

    async def renewed(self, refused: ShopToken) -> ShopToken:
        """Another token than this one, which Shopify answered with 401; raises as `token` does."""
        shop = refused.shop
        self.drop(shop, refused)
        if shop in self._kept or shop in self._asked:  # others noticed too
            found = await self.token(shop)
            if found.version != refused.version:
                return found
            self.drop(shop, found)
        return await asyncio.shield(self._asking(shop, refused.version))

    def drop(self, shop: str, token: ShopToken | None = None) -> None:
        """Forgets a shop's token; with `token`, only if it is that one. An answer under way is not kept either."""
        if token is not None and self._kept.get(shop) != token:
            return
        self._asked.pop(shop, None)
        if self._kept.pop(shop, None) is not None:
            self._kept.count("dropped")

    def drop_all(self) -> None:
        """Forgets every token, as after a time in which nobody could say which of them ended."""
        for shop in [*self._kept, *self._asked]:
            self.drop(shop)

    def statistics(self) -> Statistics:
        """The counts so far."""
        ended = self._kept.ended
        return Statistics(
            size=len(self._kept),
            hits=self._hits,
            joined=self._joined,
            misses=self._misses,
            evicted=ended["evicted"],
            expired=ended["expired"],
            dropped=ended["dropped"],
        )

    async def close(self) -> None:
        """Gives up the requests under way."""
        asked = list(self._asked.values())
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    def _asking(self, shop: str, refused: int | None = None) -> asyncio.Task[ShopToken]:
        task = self._asked.get(shop)
        if task is not None:
            self._joined += 1
            TOKEN_FETCHES.labels("joined").inc()
            return task
        self._misses += 1
        TOKEN_FETCHES.labels("miss").inc()
        task = self._asked[shop] = asyncio.create_task(self._ask(shop, refused), name=f"token of {shop}")
        task.add_done_callback(lambda done: self._answered(shop, done))
        return task

    def _answered(self, shop: str, done: asyncio.Task[ShopToken]) -> None:
        is_wanted = self._asked.get(shop) is done  # else it was dropped meanwhile, and may be of before
        if is_wanted:
            del self._asked[shop]
        if not done.cancelled() and done.exception() is None and is_wanted:
            self._kept[shop] = done.result()

    async def _ask(self, shop: str, refused: int | None) -> ShopToken:
        try:
            status, headers, body = await self._get(shop, refused)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            TOKEN_FAULTS.labels("away").inc()
            raise AuthAway(f"services/auth does not answer ({type(error).__name__})") from error
        if (token := _read(shop, status, body)) is not None:
            return token
        raise _fault(status, body, retry_after(headers, self._clock.now()))

    async def _get(self, shop: str, refused: int | None) -> tuple[int, Mapping[str, str], bytes]:
        proof = self._key.mint(caller=self._caller, audience=AUDIENCE, now=self._clock.now())
        async with self._http.get(
            f"{self._base}/{shop}/token",
            params={} if refused is None else {"refused": refused},
            headers={"Authorization": f"Bearer {proof}"},
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            return response.status, response.headers, await response.read()


class _Kept(TLRUCache[str, ShopToken]):
    """The tokens of the shops last asked for, each until it is too old; counts what leaves it."""

    def __init__(self, size: int, clock: Clock, keep_seconds: float) -> None:
        def until(_: str, token: ShopToken, now: float) -> float:
            left = (token.expires_at - SPARE - clock.now()).total_seconds()
            return now + min(left, keep_seconds)

        super().__init__(size, until, clock.monotonic)
        self.ended = {"evicted": 0, "expired": 0, "dropped": 0}

    def count(self, cause: str, times: int = 1) -> None:
        if times:
            self.ended[cause] += times
            TOKEN_ENDINGS.labels(cause).inc(times)

    def popitem(self) -> tuple[str, ShopToken]:
        found = super().popitem()
        self.count("evicted")
        return found

    def expire(self, time: float | None = None) -> Any:
        expired = super().expire(time)
        self.count("expired", len(expired))
        return expired


def _read(shop: str, status: int, body: bytes) -> ShopToken | None:
    """The token in an answer; None where it is none, as from a service that is not auth."""
    if status != HTTPStatus.OK:
        return None
    try:
        members = orjson.loads(body)
        expires_at = datetime.fromisoformat(members["expires_at"])
        access_token = members["access_token"]
        token = ShopToken(
            shop=shop,
            access_token=access_token,
            scopes=Scopes.parse(members["scopes"]),
            expires_at=expires_at,
            version=int(members["version"]),
            generation=int(members["generation"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    whole = isinstance(access_token, str) and access_token and expires_at.tzinfo is not None
    return token if whole else None


def _fault(status: int, body: bytes, after: float | None) -> NoToken:
    """Why there is no token. Only auth's own words end work; whatever else answers may be a mistake that passes."""
    cause, fault = _named(body)
    if fault is None:
        rejected = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        cause = "refused" if rejected else "away"
        words = ": is SERVICE_KEY the same in both?" if rejected else ""
        fault = AuthAway(f"services/auth answered {status}{words}", after)
    TOKEN_FAULTS.labels(cause).inc()
    return fault


def _named(body: bytes) -> tuple[str, NoToken | None]:
    try:
        kind = str(orjson.loads(body)["type"]).removeprefix(_ADDRESS_OF_KIND)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        kind = ""
    match kind:
        case "not-installed":
            return "not_installed", NotInstalled()
        case "needs-authorization":
            return "needs_authorization", NeedsAuthorization()
    return "away", None
