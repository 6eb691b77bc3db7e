"""Sends batches of pixel events as the app's pixel does: as text, and again where that may help."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any

import aiohttp
import orjson

from libs.common.clock import Clock
from services.sandbox.scene import Json
from services.sandbox.sender import failure
from services.sandbox.storefront import Product
from services.sandbox.tally import Answer, Tally
from services.sandbox.visits import Shopper, goods

DROPPED = "X-Shopbus-Dropped"
_VERSION = "sandbox"
_TEXT = {"Content-Type": "text/plain;charset=UTF-8"}
_TOO_MUCH = HTTPStatus.TOO_MANY_REQUESTS
_TRIES = 6
_PAUSE_SECONDS, _LONGEST_PAUSE = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class PixelLoad:
    """How many events for which shops, by their public keys; how many at once, and how fast."""

    keys: Mapping[str, str]
    count: int
    batch: int
    seed: int
    rate: float | None = None  # events a second; None: as fast as the concurrency allows
    broken: float = 0.0  # share of events that cannot be kept


@dataclass(slots=True)
class PixelTally:
    """Every event ends in exactly one of `accepted`, `quarantined` and `refused`."""

    accepted: int = 0
    quarantined: int = 0
    refused: int = 0  # with its whole request, in the end
    requests: Tally = field(default_factory=Tally)
    began: float | None = None  # on the monotonic clock

    @property
    def ended(self) -> int:
        return self.accepted + self.quarantined + self.refused

    def summary(self, now: float) -> dict[str, Any]:
        """The machine-readable result; `requests` as the sender of webhooks counts them."""
        seconds = now - (now if self.began is None else self.began)
        return {
            "sent": self.ended,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "refused": self.refused,
            "seconds": round(seconds, 3),
            "per_second": round(self.ended / seconds, 1) if seconds > 0 else None,
            "requests": self.requests.summary(seconds),
        }


class PixelSender:
    """Sends a load to one address; `tally` can be read while it runs."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, clock: Clock, tally: PixelTally, *, concurrency: int
    ) -> None:
        self._http, self._url, self._clock, self._tally = http, url, clock, tally
        self._slots = asyncio.Semaphore(concurrency)

    async def send(self, load: PixelLoad) -> None:
        """Sends all of it, each batch made at the moment it is due; returns when all have ended."""
        began, shops = self._clock.monotonic(), list(load.keys)
        self._tally.began = began
        shelves = {shop: goods(shop, load.seed, self._clock.now()) for shop in shops}
        async with asyncio.TaskGroup() as group:
            for number, first in enumerate(range(0, load.count, load.batch)):
                if load.rate:
                    await self._clock.sleep(max(0.0, began + first / load.rate - self._clock.monotonic()))
                await self._slots.acquire()
                shop, size = shops[number % len(shops)], min(load.batch, load.count - first)
                events = self._events(load, shop, number, size, shelves[shop])
                group.create_task(self._deliver(events, load.keys[shop]))

    def _events(
        self, load: PixelLoad, shop: str, number: int, size: int, shelf: tuple[Product, ...]
    ) -> list[Json]:
        """What one shopper does; a broken event has lost its id."""
        draw = Random(f"{load.seed}:{shop}:{number}")
        events = Shopper(shop, shelf, draw).events(size, self._clock.now())
        for event in events:
            if draw.random() < load.broken:
                del event["id"]
        return events

    async def _deliver(self, events: list[Json], key: str) -> None:
        try:
            body = orjson.dumps({"key": key, "version": _VERSION, "events": events})
            dropped = await self._taken(body)
        finally:
            self._slots.release()
        if dropped is None:
            self._tally.refused += len(events)
            return
        self._tally.quarantined += dropped
        self._tally.accepted += len(events) - dropped

    async def _taken(self, body: bytes) -> int | None:
        """How many events were put aside; None where the request was refused, or nobody took it in the end."""
        tally = self._tally.requests
        for turn in range(_TRIES):
            tally.sent, tally.retried = tally.sent + (turn == 0), tally.retried + (turn > 0)
            answer, headers = await self._post(body)
            tally.count(answer)
            if answer.accepted:
                return int(headers.get(DROPPED, 0))
            if not _worth_another_try(answer.status):
                return None
            await self._clock.sleep(_pause(headers.get("Retry-After"), turn))
        return None

    async def _post(self, body: bytes) -> tuple[Answer, Mapping[str, str]]:
        started = self._clock.monotonic()
        try:
            async with self._http.post(
                self._url, data=body, headers=_TEXT, allow_redirects=False
            ) as response:
                await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Answer(None, self._clock.monotonic() - started, failure=failure(error)), {}
        return Answer(response.status, self._clock.monotonic() - started), response.headers


def _worth_another_try(status: int | None) -> bool:
    return status is None or status == _TOO_MUCH or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _pause(asked: str | None, turn: int) -> float:
    seconds = float(asked) if asked and asked.isdecimal() else _PAUSE_SECONDS * 2**turn
    return min(seconds, _LONGEST_PAUSE)
