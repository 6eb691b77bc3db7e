"""Tells the app what happens in the sandbox's stores, by webhooks sent as Shopify sends them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from uuid import uuid4

from libs.common import logs
from libs.common.clock import Clock
from services.sandbox.deliveries import Delivery, Signer
from services.sandbox.payloads import encode, payload
from services.sandbox.scene import Json, store_of
from services.sandbox.sender import Load, Patience, Sender, open_session

_AT_ONCE = 4

_log = logs.logger("sandbox")


class News:
    """Sends each piece of news in the background, with Shopify's retries."""

    def __init__(self, sender: Sender, clock: Clock) -> None:
        self._sender = sender
        self._clock = clock
        self._sending: set[asyncio.Task[None]] = set()

    def uninstalled(self, shop: str) -> None:
        """The merchant removed the app."""
        now = self._clock.now()
        self._tell("app/uninstalled", shop, payload("app/uninstalled", shop, seed=0, number=0, now=now))

    def scopes_changed(self, shop: str, previous: Sequence[str], current: Sequence[str]) -> None:
        """The merchant agreed to other scopes than before."""
        facts = {
            "id": store_of(shop).id,
            "previous": list(previous),
            "current": list(current),
            "updated_at": self._clock.now().isoformat(timespec="milliseconds"),
        }
        self._tell("app/scopes_update", shop, facts)

    async def close(self) -> None:
        """Ends what is still being tried."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _tell(self, topic: str, shop: str, facts: Json) -> None:
        delivery = Delivery(topic, shop, encode(facts), self._clock.now(), str(uuid4()), str(uuid4()))
        task = asyncio.create_task(self._send(delivery), name=f"{topic} of {shop}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, delivery: Delivery) -> None:
        before = self._sender.tally.given_up
        await self._sender.send(Load(1), lambda _: delivery, draw=Random(0))
        if self._sender.tally.given_up > before:
            _log.warning("The app did not take a webhook of the sandbox.", topic=delivery.topic)


@asynccontextmanager
async def open_news(
    url: str, signer: Signer, clock: Clock, patience: Patience | None = None
) -> AsyncIterator[News]:
    """Sends to the app's webhook address until the block is left."""
    patience = patience or Patience()
    async with open_session(patience, _AT_ONCE) as http:
        news = News(Sender(http, url, signer, concurrency=_AT_ONCE, patience=patience, clock=clock), clock)
        try:
            yield news
        finally:
            await news.close()
