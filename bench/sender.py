"""Webhooks at a given pace over connections that stay open; it costs little, since it shares the servers' cores."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Self

from bench.load import SECRET, LoadFailed
from libs.common.shopify.signatures import webhook_signature

_CONNECTIONS = 64
_BODY = b'{"id": 5550001, "note": "%s"}' % (b"x" * 1_172)
_runs = count(1)

_HEAD = (
    "POST /webhooks/shopify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "User-Agent: Shopify-Captain-Hook\r\nX-Shopify-API-Version: 2026-10\r\n"
    f"X-Shopify-Hmac-Sha256: {webhook_signature(SECRET, _BODY)}\r\nContent-Length: {len(_BODY)}\r\n"
    "X-Shopify-Triggered-At: 2026-11-21T10:00:00.000000000Z\r\n"
)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Sender:
    """Connections to one webhooks service, used again as long as it keeps them open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Pair] = []
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._run = f"{os.getpid()}-{next(_runs)}"
        self._sent = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, port: int) -> AsyncIterator[Self]:
        sender = cls(port)
        try:
            yield sender
        finally:
            for _, writer in sender._free:
                writer.close()

    async def send(self, topic: str, shop: str = "bench.myshopify.com") -> float:
        """Milliseconds until the answer; raises `LoadFailed` unless it was 200."""
        self._sent += 1
        request = _request(topic, shop, f"{self._run}-{self._sent}")
        started = time.perf_counter()
        async with self._places:
            head = await self._answer(request)
        if not head.startswith(b"HTTP/1.1 200"):
            raise LoadFailed(f"a webhook was answered with {head[9:12].decode()}")
        return (time.perf_counter() - started) * 1e3

    async def _answer(self, request: bytes) -> bytes:
        """The head of the answer; sent once more where the service had just closed an idle connection."""
        while self._free:
            pair = self._free.pop()
            try:
                return await self._exchange(pair, request)
            except (asyncio.IncompleteReadError, ConnectionError):
                pair[1].close()
        return await self._exchange(await asyncio.open_connection("127.0.0.1", self._port), request)

    async def _exchange(self, pair: Pair, request: bytes) -> bytes:
        reader, writer = pair
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_length(head))
        self._free.append(pair)
        return head


def _request(topic: str, shop: str, identifier: str) -> bytes:
    own = f"X-Shopify-Topic: {topic}\r\nX-Shopify-Shop-Domain: {shop}\r\n"
    ids = f"X-Shopify-Webhook-Id: {identifier}\r\nX-Shopify-Event-Id: {identifier}\r\n\r\n"
    return (_HEAD + own + ids).encode() + _BODY


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


async def paced(rate: float, seconds: float, send: Callable[[], Awaitable[float]]) -> list[float]:
    """Sends at a pace that does not depend on the answers; what came of each."""
    started, sending = time.perf_counter(), []
    for number in range(max(1, round(rate * seconds))):
        pause = started + number / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        sending.append(asyncio.ensure_future(send()))
    return list(await asyncio.gather(*sending))
