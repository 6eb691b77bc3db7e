"""Traffic as Shopify sends it: signed, five seconds for each try, tried again until it is accepted."""

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

from libs.common.clock import SystemClock
from services.sandbox.deliveries import Delivery, Plan, Signer
from tests.chaos.history import Outcome, Request, Trouble
from tests.chaos.topics import ALWAYS, TOPICS

SHOPS = 5
_TRY = aiohttp.ClientTimeout(total=5, connect=1)
_PAUSES = (0.2, 0.4, 0.8)  # before the next try; the last one again and again
_REPEATED, _AT_ONCE, _FORGED = 7, 11, 31  # every so many deliveries
_MOST_WAITING = 200  # deliveries; no new ones come while so many are not accepted
_LAST_TRIES_SECONDS = 60.0
_OK, _SERVER_ERROR = 200, 500


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first 200 for a delivery."""

    message_id: str
    topic: str
    at: float


class Traffic:
    """Sends deliveries at a steady rate while `run` runs; `finish` ends that when each was accepted."""

    def __init__(
        self,
        url: str,
        secret: str,
        rng: random.Random,
        *,
        per_second: float = 60,
        topics: Sequence[str] = ALWAYS,
        shops: int = SHOPS,
    ) -> None:
        self.requests: list[Request] = []
        self.accepted: dict[str, Accepted] = {}  # by message id, in the order of time
        self.troubles: list[Trouble] = []  # answers that a good delivery must not get
        self._url, self._rng, self._pause = url, rng, 1 / per_second
        self._signer, self._forger = (Signer(key.encode(), "2026-10") for key in (secret, f"not {secret}"))
        self._topics, self._shops = list(topics), shops
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._more = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Deliveries that were not accepted yet."""
        return len(self._tasks)

    def add(self, topic: str) -> None:
        """From now on this topic comes with the others."""
        self._topics.append(topic)

    def remove(self, topic: str) -> None:
        """Undoes `add`."""
        self._topics.remove(topic)

    async def send(self, topic: str) -> str:
        """Sends one delivery beside the others; returns its message id when it was accepted."""
        delivery = self._delivery(topic)
        async with aiohttp.ClientSession(timeout=_TRY) as session:
            return (await self._deliver(session, delivery)).message_id

    async def run(self) -> None:
        """Sends until `finish` is called, and then until all that was sent is accepted."""
        self._more.set()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=_TRY, connector=connector) as session:
            try:
                for topic in self._endless_topics():
                    self._send(session, topic)
                    await asyncio.sleep(self._pause * self._rng.uniform(0.5, 1.5))
                await self._all_accepted()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def finish(self) -> None:
        """No new deliveries; those under way are tried until they are accepted."""
        self._more.clear()

    async def _all_accepted(self) -> None:
        """Returns when they are, or after a while: the checker tells of those that were not."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_TRIES_SECONDS)

    def _endless_topics(self) -> Iterator[str | None]:
        """The next topic, or None where too much waits for one."""
        while self._more.is_set():
            yield self._rng.choice(self._topics) if len(self._tasks) < _MOST_WAITING else None

    def _send(self, session: aiohttp.ClientSession, topic: str | None) -> None:
        if topic is None:
            return
        number, delivery = next(self._numbers), self._delivery(topic)
        if number % _FORGED == 0:
            self._spawn(self._forge(session, delivery))
        elif number % _AT_ONCE == 0:
            self._spawn(self._deliver(session, delivery))
            self._spawn(self._deliver(session, delivery))
        else:
            self._spawn(self._deliver(session, delivery, times=2 if number % _REPEATED == 0 else 1))

    def _delivery(self, topic: str) -> Delivery:
        shop = f"chaos-{self._rng.randrange(min(self._shops, TOPICS[topic].shops))}.myshopify.com"
        return Plan(topic, [shop], 1, SystemClock(), body=orjson.dumps({"topic": topic})).delivery(0)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        async def do() -> None:
            await work

        task = asyncio.create_task(do())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forge(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        await self._try(session, delivery, forged=True)

    async def _deliver(
        self, session: aiohttp.ClientSession, delivery: Delivery, *, times: int = 1
    ) -> Accepted:
        answered = [await self._until_accepted(session, delivery) for _ in range(times)]
        return answered[0]

    async def _until_accepted(self, session: aiohttp.ClientSession, delivery: Delivery) -> Accepted:
        pauses = itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))
        while (message_id := await self._try(session, delivery)) is None:  # noqa: ASYNC110 - the pace of tries
            await asyncio.sleep(next(pauses))
        answer = Accepted(message_id, delivery.topic, time.monotonic())
        return self.accepted.setdefault(message_id, answer)

    async def _try(
        self, session: aiohttp.ClientSession, delivery: Delivery, *, forged: bool = False
    ) -> str | None:
        request = Request(delivery.webhook_id, delivery.topic, delivery.shop, time.monotonic(), forged=forged)
        outcome: Outcome = "unknown"  # also where this task is cancelled
        message_id = None
        try:
            outcome, message_id = await self._post(session, delivery, forged=forged)
        except aiohttp.ClientConnectorError:
            outcome = "fail"  # nothing was sent
        except (aiohttp.ClientError, TimeoutError):
            pass
        finally:
            ended = None if outcome == "unknown" else time.monotonic()
            self.requests.append(replace(request, ended=ended, outcome=outcome, message_id=message_id))
        return message_id

    async def _post(
        self, session: aiohttp.ClientSession, delivery: Delivery, *, forged: bool
    ) -> tuple[Outcome, str | None]:
        signer = self._forger if forged else self._signer
        async with session.post(self._url, data=delivery.body, headers=signer.headers(delivery)) as answer:
            if answer.status == _OK:
                return "ok", str((await answer.json())["id"])
            if answer.status >= _SERVER_ERROR:
                return "unknown", None  # a 503 may come after the commit whose answer was too late
            if not forged:
                said = f"answered a good delivery with {answer.status}: {await answer.text()}"
                self.troubles.append(Trouble("webhooks", said))
            return "fail", None
