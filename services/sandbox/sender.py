"""Delivers webhooks as Shopify does: its deadlines, its idea of success, its retries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import aiohttp
import orjson

from libs.common.clock import Clock, SystemClock
from services.sandbox.deliveries import Delivery, Signer
from services.sandbox.tally import Answer, Tally

# Shopify retries eight times within four hours, backing off exponentially; it publishes no single delays.
# These double and add up to four hours:
#
#   retry            1     2     3     4      5      6     7     8
#   after seconds   56   113   226   452    904   1807  3614  7228
#   since the first 56 s  3 m   7 m  14 m   29 m   59 m   2 h   4 h
RETRY_DELAYS = (56.0, 113.0, 226.0, 452.0, 904.0, 1807.0, 3614.0, 7228.0)

_WAITING_LIMIT = 10_000  # deliveries on their way or waiting for a retry; each holds its body in memory


@dataclass(frozen=True, slots=True)
class Patience:
    """How long Shopify waits for a receiver, and how often it comes back. Seconds."""

    connect: float = 1.0
    total: float = 5.0
    retry_delays: tuple[float, ...] = RETRY_DELAYS

    def scaled(self, factor: float) -> "Patience":
        """The same number of retries in another time: a thousandth makes four hours 14 seconds."""
        return replace(self, retry_delays=tuple(delay * factor for delay in self.retry_delays))


@dataclass(frozen=True, slots=True)
class Load:
    """How much, how fast, and how often twice."""

    count: int
    rate: float | None = None  # deliveries a second; None: as fast as the concurrency allows
    duplicates: float = 0.0  # share of deliveries that are sent twice at the same moment


def open_session(patience: Patience, concurrency: int) -> aiohttp.ClientSession:
    """A session with Shopify's deadlines that keeps its connections, one for each request in flight."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        timeout=aiohttp.ClientTimeout(total=patience.total, sock_connect=patience.connect),
        headers={"User-Agent": "shopbus-sandbox"},
    )


class Sender:
    """Sends a load of deliveries to one address; `tally` can be read while it runs."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        signer: Signer,
        *,
        concurrency: int = 50,  # requests in flight
        patience: Patience | None = None,
        clock: Clock | None = None,
        tally: Tally | None = None,
        on_accepted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._http = http
        self._url = url
        self._signer = signer
        self._patience = patience or Patience()
        self._clock = clock or SystemClock()
        self._on_accepted = on_accepted
        self._slots = asyncio.Semaphore(concurrency)
        self._waiting = asyncio.Semaphore(_WAITING_LIMIT)
        self.tally = tally or Tally()

    async def send(self, load: Load, make: Callable[[int], Delivery], *, draw: Random) -> Tally:
        """Sends `load.count` deliveries, each made at the moment it is due; returns when all have ended."""
        started = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(load.count):
                await self._pace(started, number, load.rate)
                twice = draw.random() < load.duplicates
                self.tally.sent += 1
                self.tally.copies += twice
                await self._launch(group, make(number), copies=1 + twice)
        return self.tally

    async def deliver(self, delivery: Delivery) -> bool:
        """Sends one delivery, with its retries; whether it was taken in the end."""
        await self._slots.acquire()
        return await self._deliver(delivery)

    async def _pace(self, started: float, number: int, rate: float | None) -> None:
        """Waits for the moment this delivery is due; counted from the start, so that delays do not add up."""
        if rate is None:
            return
        ahead = started + number / rate - self._clock.monotonic()
        if ahead > 0:
            await self._clock.sleep(ahead)

    async def _launch(self, group: asyncio.TaskGroup, delivery: Delivery, *, copies: int) -> None:
        for _ in range(copies):
            await self._waiting.acquire()
            await self._slots.acquire()  # here, not in the task: what finds no slot is not even made yet
            task = group.create_task(self._deliver(delivery))
            task.add_done_callback(lambda _: self._waiting.release())

    async def _deliver(self, delivery: Delivery) -> bool:
        """The first attempt, whose slot is taken already, and the retries: same ids, same body."""
        headers = self._signer.headers(delivery)
        if await self._attempt(delivery, headers):
            return True
        for delay in self._patience.retry_delays:
            await self._clock.sleep(delay)
            await self._slots.acquire()
            self.tally.retried += 1
            if await self._attempt(delivery, headers):
                return True
        self.tally.given_up += 1
        return False

    async def _attempt(self, delivery: Delivery, headers: dict[str, str]) -> bool:
        try:
            answer = await self._post(delivery.uri or self._url, delivery.body, headers)
        finally:
            self._slots.release()
        self.tally.count(answer)
        if answer.accepted and answer.message_id:
            self._on_accepted(answer.message_id)
        return answer.accepted

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        started = self._clock.monotonic()
        try:
            async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Answer(None, self._clock.monotonic() - started, failure=failure(error))
        message_id, duplicate = _receipt(content)
        seconds = self._clock.monotonic() - started
        return Answer(response.status, seconds, message_id=message_id, duplicate=duplicate)


def failure(error: Exception) -> str:
    """Why nothing answered, as one of four words."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connect timeout"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return "broken off"


def _receipt(content: bytes) -> tuple[str | None, bool]:
    """The message id and whether it was a duplicate, if the receiver says so; others may say anything."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None, False
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
        return None, False
    return answer["id"], answer.get("duplicate") is True
