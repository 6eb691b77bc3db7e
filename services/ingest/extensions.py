"""The app's web pixel on shops, switched on and off by merchants, installs and uninstalls; and its public keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from libs.common.shopify.admin.errors import AdminError
from libs.common.token_client import NotInstalled
from services.ingest import extensions_store as store
from services.ingest.keys import Keys, new_key
from services.ingest.pixels import Pixel, Pixels

ACCOUNT, ENDPOINT = "accountID", "endpoint"  # the pixel's settings, as its shopify.extension.toml names them


@dataclass(frozen=True, slots=True)
class Extensions:
    """Every change is ours first and Shopify's then. Done again, it goes on where it was broken off."""

    pool: asyncpg.Pool
    keys: Keys
    shopify: Pixels
    clock: Clock
    timeout: float
    endpoint: str  # the app's address, to which the pixel adds its path
    overlap: timedelta  # for which a replaced key works on

    async def show(self, shop: str) -> dict[str, Any]:
        """Our side and Shopify's, and whether they agree."""
        ours, theirs = await self._ours(shop), await self._theirs(shop)
        return {**ours, "shopify": theirs, "in_step": _in_step(ours, theirs, self.endpoint)}

    async def activate(self, shop: str, *, rotate: bool, hosts: Sequence[str] | None) -> dict[str, Any]:
        """Switches the pixel on, with a new key if that is asked for; raises `AdminError` or `NotInstalled`."""
        async with self._open() as conn, conn.transaction():
            await store.take_turn(conn, shop)
            await store.want(conn, shop, hosts, self.clock.now())
            await self._ensure_key(conn, shop, rotate=rotate)
        await self._forget_keys(shop)
        pixel = await self.restore(shop)
        async with self._open() as conn:
            await store.keep_pixel(conn, shop, pixel.id)
        return await self.show(shop)

    async def deactivate(self, shop: str) -> dict[str, Any]:
        """Switches the pixel off: no event is taken in from now on; raises `AdminError` or `NotInstalled`."""
        async with self._open() as conn:
            await store.unwant(conn, shop, self.clock.now())
        await self._forget_keys(shop)
        await self.shopify.remove(shop)
        return await self.show(shop)

    async def heard_of_install(self, shop: str, generation: int) -> bool:
        """Notes which install is alive; returns whether its merchant had the pixel on before."""
        async with self._open() as conn:
            return await store.installed(conn, shop, generation)

    async def restore(self, shop: str) -> Pixel:
        """Makes Shopify's side what ours is; raises `AdminError` or `NotInstalled`."""
        async with self._open() as conn, conn.transaction():
            await store.take_turn(conn, shop)
            await self._ensure_key(conn, shop, rotate=False)
            keys = await store.keys_of(conn, shop)
        current = next(key.key for key in keys if key.ends_at is None)
        pixel = await self.shopify.keep(shop, {ACCOUNT: current, ENDPOINT: self.endpoint})
        if (host := await self.shopify.host(shop)) is not None:
            async with self._open() as conn:
                await store.add_host(conn, shop, host)
        return pixel

    async def _ensure_key(self, conn: Connection, shop: str, *, rotate: bool) -> None:
        now = self.clock.now()
        current = [key for key in await store.keys_of(conn, shop) if key.ends_at is None]
        if rotate or not current:
            await store.replace_keys(conn, shop, new_key(), others_end=now + self.overlap, at=now)

    async def _forget_keys(self, shop: str) -> None:
        async with self._open() as conn:
            self.keys.forget([key.key for key in await store.keys_of(conn, shop)])

    async def _ours(self, shop: str) -> dict[str, Any]:
        async with self._open() as conn:
            found = await store.extension(conn, shop) or store.Extension(shop)
            keys = await store.keys_of(conn, shop)
            versions = await store.versions(conn, shop)
        return {
            **asdict(found),
            "status": "active" if found.active else "inactive",
            "endpoint": self.endpoint,
            "keys": [asdict(key) for key in keys],
            "version": versions[0]["version"] if versions else None,
            "versions": versions,
        }

    async def _theirs(self, shop: str) -> dict[str, Any]:
        try:
            pixel = await self.shopify.show(shop)
        except (AdminError, NotInstalled) as error:
            return {"reached": False, "error": str(error), "pixel": None}
        return {"reached": True, "error": None, "pixel": None if pixel is None else asdict(pixel)}

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Connection]:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                yield conn


def _in_step(ours: dict[str, Any], theirs: dict[str, Any], endpoint: str) -> bool | None:
    """Whether Shopify has the pixel just as it should be; None where Shopify does not tell."""
    if not theirs["reached"]:
        return None
    pixel = theirs["pixel"]
    if pixel is None or not ours["active"]:
        return pixel is None and not ours["active"]
    current = [key["key"] for key in ours["keys"] if key["ends_at"] is None]
    return bool(pixel["settings"] == {ACCOUNT: current[0] if current else None, ENDPOINT: endpoint})
