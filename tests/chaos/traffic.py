"""Traffic as Shopify sends it: signed, five seconds for each try, tried again until it is accepted."""

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from libs.common.clock import SystemClock
from services.sandbox.deliveries import Delivery, Plan, Signer

TOPICS = ("chaos/plain", "chaos/together", "chaos/slow", "chaos/chain", "chaos/refused")
_TRY = aiohttp.ClientTimeout(total=5, connect=1)
_REPEAT_EVERY = 7  # every so many deliveries are sent twice although they were accepted


@dataclass(slots=True)
class Record:
    """What the sender knows at the end."""

    accepted: dict[str, set[str]] = field(
        default_factory=dict
    )  # webhook id -> message ids it was answered with
    topics: dict[str, str] = field(default_factory=dict)  # message id -> topic
    tries: int = 0
    failures: int = 0


class Traffic:
    """Sends deliveries of all topics for as long as it runs; `finish` waits until each was accepted."""

    def __init__(self, url: str, secret: str, *, shops: int = 5, per_second: float = 60) -> None:
        self.record = Record()
        self._url = url
        self._signer = Signer(secret.encode(), "2026-10")
        self._shops = [f"chaos-{number}.myshopify.com" for number in range(shops)]
        self._pause = 1 / per_second
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Sends until `finish` is called."""
        plans = [
            Plan(topic, self._shops, 1, SystemClock(), body=orjson.dumps({"topic": topic}))
            for topic in TOPICS
        ]
        async with aiohttp.ClientSession(timeout=_TRY) as session:
            for number in itertools.count():
                if self._stop.is_set():
                    break
                delivery = plans[number % len(plans)].delivery(number)
                self._spawn(self._deliver(session, delivery, times=2 if number % _REPEAT_EVERY == 0 else 1))
                await asyncio.sleep(self._pause)
            await asyncio.gather(*self._tasks)

    def finish(self) -> None:
        """No new deliveries; those under way are tried until they are accepted."""
        self._stop.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, session: aiohttp.ClientSession, delivery: Delivery, *, times: int) -> None:
        for _ in range(times):
            while (message_id := await self._try(session, delivery)) is None:  # noqa: ASYNC110 - the pace of tries
                await asyncio.sleep(0.2)
            self.record.accepted.setdefault(delivery.webhook_id, set()).add(message_id)
            self.record.topics[message_id] = delivery.topic

    async def _try(self, session: aiohttp.ClientSession, delivery: Delivery) -> str | None:
        self.record.tries += 1
        try:
            async with session.post(
                self._url, data=delivery.body, headers=self._signer.headers(delivery)
            ) as answer:
                if answer.status == 200:
                    return str((await answer.json())["id"])
                if answer.status < 500:
                    raise AssertionError(
                        f"a good delivery was answered with {answer.status}: {await answer.text()}"
                    )
        except (aiohttp.ClientError, TimeoutError):
            pass
        self.record.failures += 1
        return None


def roots(record: Record, topics: Sequence[str]) -> set[str]:
    """The message ids of deliveries of these topics."""
    return {message_id for message_id, topic in record.topics.items() if topic in topics}
