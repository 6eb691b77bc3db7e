"""Keeps those who were erased from coming back by a message that was on its way: Shopify delivers for hours.

Every process that accepts messages knows the tombstones by heart, as of two seconds ago at most. So an erasure first
buries, then waits `GRACE_SECONDS`, and only then looks for what there is: nothing gets in unseen after that.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from libs.common.clock import Clock
from libs.common.contracts.envelope import Draft, Receipt
from libs.common.contracts.privacy import ERASED, REQUESTS
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox import erase_store
from libs.common.outbox.producer import Producer
from libs.common.privacy import metrics
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.people import People, people_in

_EVERY_SECONDS = 0.5
_OLDEST_SECONDS = 2.0
GRACE_SECONDS = 2.5

Buried = Mapping[bytes, Mapping[bytes, datetime]]
"""By the shop's mark: until when what carries a mark was triggered too early."""


@dataclass(frozen=True, slots=True)
class Graves:
    """Those of one shop."""

    shop: str
    keys: PrivacyKeys
    buried: Mapping[bytes, datetime]
    whole: datetime | None  # until when the shop itself was erased

    def hold_shop(self, time: datetime) -> bool:
        """Whether what the shop triggered then must not come back."""
        return _is_late(time, self.whole)

    def hold(self, people: People, time: datetime) -> bool:
        """Whether one of these people, or the shop, was erased after this time."""
        marks = (self.keys.customer(self.shop, kind, text) for kind, text in people.marks())
        return self.hold_shop(time) or any(_is_late(time, self.buried.get(mark)) for mark in marks)


class Tombstones:
    """Those of one schema."""

    def __init__(
        self, pool: asyncpg.Pool, source: str, keys: PrivacyKeys, clock: Clock, timeout: float
    ) -> None:
        self._pool, self._source, self._keys = pool, source, keys
        self._clock, self._timeout = clock, timeout
        self._buried: Buried = {}
        self._as_of = float("-inf")
        self._turn = asyncio.Lock()

    async def follow(self) -> None:
        """Learns of new ones until cancelled."""
        while True:
            with suppress(DatabaseAway):  # nothing can be accepted either
                await self._learn()
            await self._clock.sleep(_EVERY_SECONDS)

    async def cover(self, draft: Draft) -> Draft | None:
        """The draft without what must not come back, or None where all may come; raises `DatabaseAway`."""
        if not self._is_fresh():
            await self._learn_if_old()
        return self._covered(draft, self._buried)

    async def of_shop(self, shop: str) -> Graves | None:
        """Who was erased in a shop; None where nobody was. Raises `DatabaseAway`."""
        if not self._is_fresh():
            await self._learn_if_old()
        return self._graves(shop, self._buried)

    async def welcome(self, conn: Connection, drafts: Sequence[Draft]) -> list[Draft]:
        """Those of the drafts that may come, for a transaction that puts them: exact without having followed."""
        shops = {self._keys.shop(draft.shop) for draft in drafts}
        buried = _by_shop(await erase_store.tombstones_held(conn, self._source, sorted(shops)))
        return [draft for draft in drafts if self._covered(draft, buried) is None]

    def _covered(self, draft: Draft, everybody: Buried) -> Draft | None:
        if draft.time is None or draft.type in REQUESTS:
            return None
        graves = self._graves(draft.shop, everybody)
        if graves is None:
            return None
        if graves.hold_shop(draft.time):
            return _without(draft, shop="")
        late = graves.hold(people_in(draft.type, draft.body), draft.time)
        return _without(draft, shop=draft.shop) if late else None

    def _graves(self, shop: str, everybody: Buried) -> Graves | None:
        if not everybody:
            return None
        mark = self._keys.shop(shop)
        buried = everybody.get(mark)
        return None if buried is None else Graves(shop, self._keys, buried, buried.get(mark))

    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._as_of < _OLDEST_SECONDS

    async def _learn_if_old(self) -> None:
        async with self._turn:  # one asks for all who wait
            if not self._is_fresh():
                await self._learn()

    async def _learn(self) -> None:
        asked = self._clock.monotonic()
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                rows = await erase_store.tombstones(conn, self._source)
        self._buried, self._as_of = _by_shop(rows), asked


class Doorkeeper:
    """A producer that lets nobody in who was erased. What comes too late is accepted, and nothing of it is kept."""

    def __init__(self, producer: Producer, tombstones: Tombstones) -> None:
        self._producer, self._tombstones = producer, tombstones

    async def accept(self, draft: Draft) -> Receipt:
        """As `Producer.accept`."""
        covered = await self._tombstones.cover(draft)
        if covered is not None:
            metrics.WITHHELD.labels(self._producer.source).inc()
        return await self._producer.accept(covered or draft)


def _by_shop(rows: Sequence[asyncpg.Record]) -> Buried:
    buried: dict[bytes, dict[bytes, datetime]] = defaultdict(dict)
    for row in rows:
        buried[row["shop_mark"]][row["mark"]] = row["before"]
    return dict(buried)


def _is_late(time: datetime, before: datetime | None) -> bool:
    return before is not None and time <= before


def _without(draft: Draft, *, shop: str) -> Draft:
    topics = {
        name: value
        for name, value in (draft.headers or {}).items()
        if name in {"shopify-topic", "x-shopify-topic"}
    }
    return replace(
        draft, body=ERASED, shop=shop, subject=None, headers=topics, content_type="application/json"
    )
