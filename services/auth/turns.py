"""One at a time for each shop, over all processes: getting tokens, renewing them, and ending them.

Each of these makes what another one got meanwhile worthless (SHOPIFY 2.3), so they never overlap. The lock is Postgres'
and held by a transaction that stays open while Shopify is asked: it ends with its process, however that ends, and it
has written nothing by then, so that it holds up no vacuum.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import asyncpg

from libs.common.clock import Clock
from libs.common.contracts.envelope import Draft
from libs.common.db import Connection, connection, database_away_named
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer
from libs.common.outbox.put_store import Outgoing
from services.auth import store
from services.auth.refusals import TryLater


class Turn:
    """A transaction of one shop's turn, and what it emits."""

    def __init__(self, conn: Connection, producer: Producer, *, ends: float) -> None:
        self.conn = conn
        self.ends = ends
        self.emitted: list[Outgoing] = []
        self._producer = producer

    async def emit(self, drafts: Sequence[Draft]) -> None:
        """Sends messages with the commit."""
        self.emitted += await self._producer.put(self.conn, drafts)


class Turns:
    """Gives out turns. Requests of this process wait in memory first, so that a shop takes one connection at most."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        producer: Producer,
        clock: Clock,
        *,
        seconds: float,
        at_once: int,
        faults: FaultPoints | None = None,
    ) -> None:
        self._pool, self._producer, self._clock, self._seconds = pool, producer, clock, seconds
        self._faults = faults or FaultPoints()
        self._shops: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self, shop: str, patience: float | None = None) -> AsyncIterator[Turn]:
        """Raises `DatabaseAway`, or `TryLater` where others take longer than the patience, in seconds."""
        seconds = self._seconds if patience is None else patience
        async with self._in_line(shop, seconds), connection(self._pool, self._seconds) as conn:
            turn = Turn(conn, self._producer, ends=self._clock.monotonic() + 2 * self._seconds)
            with database_away_named():
                async with conn.transaction():
                    await _in_time(store.lock(conn, shop, seconds=2 * self._seconds), seconds)
                    yield turn
        if turn.emitted:
            await self._faults.reach("token committed, not announced")
        self._producer.sent(turn.emitted)

    def check(self, turn: Turn) -> None:
        """Raises `TryLater` where a frozen process wakes up in the middle: others have had their turn since."""
        if self._clock.monotonic() >= turn.ends:
            raise TryLater("the shop's turn was over", 1.0)

    @asynccontextmanager
    async def _in_line(self, shop: str, seconds: float) -> AsyncIterator[None]:
        first = self._shops.get(shop)
        if first is None:
            first = self._shops[shop] = asyncio.Lock()
        async with AsyncExitStack() as left:
            await _in_time(first.acquire(), seconds)
            left.callback(first.release)
            await _in_time(self._room.acquire(), seconds)
            left.callback(self._room.release)
            yield


async def _in_time(waiting: Awaitable[object], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        raise TryLater("others are getting tokens; it is not this request's turn yet", 2.0) from None
