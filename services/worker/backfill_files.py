"""Streams the files of bulk operations, from any byte on, and only from where Shopify keeps them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from libs.common.errors import ShopbusError

_REDIRECTIONS = 3
_GONE = frozenset({400, 401, 403, 404, 410})  # what storage answers to a signature that has expired
_PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=60.0)


class FileAway(ShopbusError):
    """The file could not be read just now."""


class FileGone(ShopbusError):
    """The file's address is not good any more."""


class WrongHost(ShopbusError):
    """The file is at an address that Shopify is not known to use (BACKFILL_FILE_HOSTS)."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where files may be read."""

    http: aiohttp.ClientSession
    hosts: frozenset[str]
    sandbox: str | None = None  # the sandbox store's address: then files are there and nowhere else

    @asynccontextmanager
    async def open(self, address: str, position: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """What the file holds from `position` on; raises `FileAway`, `FileGone` or `WrongHost`."""
        url = URL(address, encoded=True)  # signed as it is written
        for _ in range(1 + _REDIRECTIONS):
            async with self._get(self._checked(url), position) as response:
                target = response.headers.get("Location")
                if response.status // 100 == 3 and target is not None:  # noqa: PLR2004 - HTTP's redirections
                    url = url.join(URL(target, encoded=True))
                    continue
                yield _content(response, _surplus(response, position))
                return
        raise FileAway("the file's address leads in circles")

    def _checked(self, url: URL) -> URL:
        if self.sandbox is not None:
            allowed = url.origin() == URL(self.sandbox).origin()
        else:
            allowed = url.scheme == "https" and url.host in self.hosts and url.is_default_port()
        if not allowed:
            raise WrongHost(f"files are not read from {url.scheme}://{url.host}")
        return url

    @asynccontextmanager
    async def _get(self, url: URL, position: int) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept-Encoding": "identity"}  # places in the file are counted in bytes
        if position:
            headers["Range"] = f"bytes={position}-"
        try:
            response = await self.http.get(url, headers=headers, allow_redirects=False, timeout=_PATIENCE)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise FileAway(f"the file cannot be reached: {type(error).__name__}") from error
        async with response:
            yield response


def _surplus(response: aiohttp.ClientResponse, position: int) -> int | None:
    """How many bytes come before the place that was asked for; None where nothing is left from there on."""
    status = response.status
    if status == HTTPStatus.OK:
        return position
    if status == HTTPStatus.PARTIAL_CONTENT:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {position}-"):
            raise FileAway("the file was not answered from where it was asked for")
        return 0
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and position:
        return None
    raise (FileGone if status in _GONE else FileAway)(f"the file's address answered {status}")


async def _content(response: aiohttp.ClientResponse, surplus: int | None) -> AsyncIterator[bytes]:
    if surplus is None:
        return
    try:
        async for chunk in response.content.iter_any():
            wanted = chunk[surplus:]
            surplus -= len(chunk) - len(wanted)
            if wanted:
                yield wanted
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise FileAway(f"the file was cut off: {type(error).__name__}") from error
