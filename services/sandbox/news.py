"""Tells the app what happens in the sandbox's stores, by webhooks sent as Shopify sends them.

What the app's own configuration subscribes to goes to the app's usual address, for every shop. The rest goes to
whatever the app has subscribed to at that shop, once for each subscription.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from random import Random
from uuid import uuid4

from yarl import URL

from libs.common import logs
from libs.common.clock import Clock
from services.sandbox.deliveries import Delivery, Signer
from services.sandbox.ledger import Ledger, Subscription
from services.sandbox.payloads import encode, payload
from services.sandbox.scene import Json, store_of
from services.sandbox.sender import Patience, Sender, open_session
from services.sandbox.topics import APP_SPECIFIC

_AT_ONCE = 8
_SHOWN = 50
_LATE = 1_000  # lost deliveries that can still come
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})

_log = logs.logger("sandbox")


class Fate(StrEnum):
    """What became of a delivery."""

    WAITING = "waiting"  # being sent, or between two attempts
    TAKEN = "taken"
    GIVEN_UP = "given up"
    LOST = "lost"  # not sent, because somebody wants it so
    ELSEWHERE = "elsewhere"  # not sent: the address is not on this machine


@dataclass(slots=True)
class Sent:
    """A delivery as the admin shows it."""

    at: datetime
    shop: str
    topic: str
    uri: str
    fate: Fate = Fate.WAITING


@dataclass(slots=True)
class Losses:
    """A share of deliveries to subscriptions that is never sent, as now and then at Shopify."""

    share: float = 0.0
    draw: Random = field(default_factory=Random)

    def next(self) -> bool:
        return self.draw.random() < self.share


class News:
    """Sends each piece of news in the background, with Shopify's retries."""

    def __init__(
        self, sender: Sender, url: str, ledger: Ledger, clock: Clock, losses: Losses | None = None
    ) -> None:
        self._sender = sender
        self._url = url
        self._ledger = ledger
        self._clock = clock
        self.losses = losses or Losses()
        self._lost: deque[tuple[Delivery, Sent, Subscription]] = deque(maxlen=_LATE)
        self._sending: set[asyncio.Task[None]] = set()
        self._taken_at: dict[int, float] = {}  # by subscription: when it last took something
        self.recent: deque[Sent] = deque(maxlen=_SHOWN)
        self.fates: Counter[tuple[str, Fate]] = Counter()  # by shop

    def uninstalled(self, shop: str) -> None:
        """The merchant removed the app."""
        now = self._clock.now()
        self.happened(shop, "app/uninstalled", payload("app/uninstalled", shop, seed=0, number=0, now=now))

    def scopes_changed(self, shop: str, previous: Sequence[str], current: Sequence[str]) -> None:
        """The merchant agreed to other scopes than before."""
        facts = {
            "id": store_of(shop).id,
            "previous": list(previous),
            "current": list(current),
            "updated_at": self._clock.now().isoformat(timespec="milliseconds"),
        }
        self.happened(shop, "app/scopes_update", facts)

    def happened(self, shop: str, topic: str, facts: Json) -> None:
        """Something happened at a shop: everybody who subscribed to its topic is told."""
        now, event, body = self._clock.now(), str(uuid4()), encode(facts)
        if topic in APP_SPECIFIC:
            self._start(Delivery(topic, shop, body, now, str(uuid4()), event, uri=self._url), None)
        for one in self._subscribed(shop, topic):
            content = encode(_included(facts, one.include_fields)) if one.include_fields else body
            delivery = Delivery(topic, shop, content, now, str(uuid4()), event, name=one.name, uri=one.uri)
            self._start(delivery, one)

    def late(self, shop: str) -> int:
        """What was lost of a shop comes after all, as it was; returns how much."""
        found = [one for one in self._lost if one[0].shop == shop]
        self._lost = deque((one for one in self._lost if one[0].shop != shop), _LATE)
        for delivery, sent, to in found:
            self.fates[shop, Fate.LOST] -= 1
            sent.fate = Fate.WAITING
            self._begin(delivery, sent, to)
        return len(found)

    async def close(self) -> None:
        """Ends what is still being tried."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _subscribed(self, shop: str, topic: str) -> Iterator[Subscription]:
        found = self._ledger.look(shop).subscriptions.values()
        return (one for one in list(found) if one.topic == topic)

    def _start(self, delivery: Delivery, to: Subscription | None) -> None:
        sent = Sent(delivery.triggered_at, delivery.shop, delivery.topic, delivery.uri or "")
        self.recent.append(sent)
        if not _is_here(sent.uri):
            self._end(sent, Fate.ELSEWHERE)
        elif to is not None and self.losses.next():
            self._lost.append((delivery, sent, to))
            self._end(sent, Fate.LOST)
        else:
            self._begin(delivery, sent, to)

    def _begin(self, delivery: Delivery, sent: Sent, to: Subscription | None) -> None:
        task = asyncio.create_task(self._send(delivery, sent, to), name=f"{sent.topic} of {sent.shop}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, delivery: Delivery, sent: Sent, to: Subscription | None) -> None:
        started = self._clock.monotonic()
        taken = await self._sender.deliver(delivery)
        self._end(sent, Fate.TAKEN if taken else Fate.GIVEN_UP)
        if taken and to is not None:
            self._taken_at[to.id] = self._clock.monotonic()
        if not taken:
            _log.warning("The app did not take a webhook of the sandbox.", topic=delivery.topic)
        if not taken and to is not None and self._taken_at.get(to.id, 0.0) < started:
            self._unsubscribe(delivery.shop, to)

    def _end(self, sent: Sent, fate: Fate) -> None:
        sent.fate = fate
        self.fates[sent.shop, fate] += 1

    def _unsubscribe(self, shop: str, gone: Subscription) -> None:
        """Every retry of a delivery failed and nothing else was taken meanwhile: Shopify deletes the subscription."""
        if self._ledger.look(shop).subscriptions.pop(str(gone.id), None) is not None:
            self._ledger.save()
            _log.warning("The sandbox deleted a subscription that failed.", topic=gone.topic, shop=shop)


def _is_here(uri: str) -> bool:
    """Whether an address is one of this machine: nothing made up leaves it."""
    return uri.startswith(("http://", "https://")) and URL(uri).host in _THIS_MACHINE


def _included(facts: Json, names: Sequence[str]) -> Json:
    """What a subscription with `includeFields` is told."""
    return {name: value for name, value in facts.items() if name in names}


@asynccontextmanager
async def open_news(
    url: str,
    signer: Signer,
    ledger: Ledger,
    clock: Clock,
    patience: Patience | None = None,
    losses: Losses | None = None,
) -> AsyncIterator[News]:
    """Sends to the app until the block is left."""
    patience = patience or Patience()
    async with open_session(patience, _AT_ONCE) as http:
        sender = Sender(http, url, signer, concurrency=_AT_ONCE, patience=patience, clock=clock)
        news = News(sender, url, ledger, clock, losses)
        try:
            yield news
        finally:
            await news.close()
