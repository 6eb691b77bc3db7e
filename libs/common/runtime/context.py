"""What a handler is given besides its message."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import orjson
import structlog

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection, connection, interrupts, is_lost
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer
from libs.common.outbox.put_store import Outgoing
from libs.common.runtime.cache import Cache
from libs.common.runtime.calls import AdminApi, ShopApi
from libs.common.runtime.outcomes import AlreadyDone, NotWired, TransactionOpen, TransactionUsed


class EndMessages(Protocol):
    """Deletes the rows of the context's messages inside a transaction; raises `AlreadyDone` if there were none."""

    async def __call__(self, conn: Connection) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the handlers of a process share."""

    cache: Cache
    admin: AdminApi | None = None


class Context:
    """A handler's hands: its one transaction, what it emits, its shop's API, its log, its idempotency key."""

    def __init__(
        self,
        message: Message,
        *,
        pool: asyncpg.Pool,
        producer: Producer,
        end: EndMessages,
        tools: Tools | None = None,
        acquire_seconds: float = 10.0,
        faults: FaultPoints | None = None,
    ) -> None:
        self.message = message
        self.ended = False  # the transaction that ends the message has committed
        self.interrupted = False  # Postgres left while the transaction was open
        self.gone: AlreadyDone | None = None  # the row was not there, whatever the handler made of that error
        self._pool, self._producer, self._end = pool, producer, end
        self._tools = tools or Tools(Cache(SystemClock()))
        self._acquire_seconds = acquire_seconds
        self._faults = faults or FaultPoints()
        self._opened = False
        self._open = False  # a transaction is open right now
        self.emitted: list[Draft] = []

    @property
    def untouched(self) -> bool:
        """Whether the handler opened no transaction, so that its message still has to be ended."""
        return not self._opened

    @property
    def idempotency_key(self) -> str:
        """The same for every try of this message: give it to whoever you call, so that a repeat has no effect."""
        return str(self.message.id)

    @property
    def log(self) -> Any:
        """A logger that names the message in each line."""
        return structlog.get_logger("handler").bind(message_id=str(self.message.id), type=self.message.type)

    @property
    def cache(self) -> Cache:
        """What this process keeps in memory for a while, for all its handlers."""
        return self._tools.cache

    def shopify(self, shop: str | None = None) -> ShopApi:
        """The Admin API of a shop: of the message's own, where none is named."""
        if self._tools.admin is None:
            raise NotWired
        return ShopApi(self._tools.admin, shop or self.message.shop, self._refuse_in_transaction)

    def _refuse_in_transaction(self) -> None:
        if self._open:
            raise TransactionOpen

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """The one transaction that also ends the message: writes, emitted messages and the end commit together.

        Talk to the outside before it, not inside. Raises `TransactionUsed` the second time.
        """
        if self._opened:
            raise TransactionUsed(
                f"{self.message.type}: a handler has one transaction, the one that ends its message"
            )
        self._opened = True
        async with connection(self._pool, self._acquire_seconds) as conn:
            self._open = True
            try:
                async with conn.transaction():
                    await self._end(conn)
                    yield conn
                    emitted = await self._store_emitted(conn)
                    await self._faults.reach("handler done, not committed")
            except BaseException as error:
                if isinstance(error, AlreadyDone):
                    self.gone = error
                elif is_lost(conn) or interrupts(error):
                    self.interrupted = True
                raise
            finally:
                self._open = False
            self.ended = True
            if emitted:
                await self._faults.reach("stored, not announced")
                self._producer.sent(emitted)

    async def finish(self) -> None:
        """Ends a message whose handler opened no transaction but emitted something."""
        async with self.transaction():
            pass

    async def emit(
        self,
        message_type: str,
        data: Any = None,
        *,
        delay: float | None = None,
        lane: str | None = None,
        shop: str | None = None,
        key: str | None = None,
        subject: str | None = None,
    ) -> None:
        """Sends a message when, and only when, this one ends. `data` is bytes or anything JSON; `delay` in seconds.

        Raises `TransactionUsed` after the transaction, when it could not be part of it any more.
        """
        if self.ended:
            raise TransactionUsed(f"{message_type} was emitted after the transaction that ended the message")
        self.emitted.append(
            Draft(
                type=message_type,
                body=data if isinstance(data, bytes) else orjson.dumps(data, default=_plain),
                shop=self.message.shop if shop is None else shop,
                key=key,
                lane=None if lane is None else Lane(lane),
                delay=delay or 0.0,
                subject=subject,
                traceparent=self.message.traceparent,
                correlation_id=self.message.correlation_id or str(self.message.id),
            )
        )

    async def _store_emitted(self, conn: Connection) -> list[Outgoing]:
        return await self._producer.put(conn, self.emitted) if self.emitted else []


class SharedContext(Context):
    """A context whose transaction is opened and committed by somebody else, around several handlers."""

    def __init__(
        self,
        message: Message,
        conn: Connection,
        *,
        pool: asyncpg.Pool,
        producer: Producer,
        tools: Tools | None = None,
        faults: FaultPoints | None = None,
    ) -> None:
        super().__init__(
            message, pool=pool, producer=producer, end=_ended_already, tools=tools, faults=faults
        )
        self._conn = conn
        self._open = True  # before the handler began, and after it has ended
        self.broken = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """The shared transaction; each handler may enter it once, as if it were its own."""
        if self._opened:
            raise TransactionUsed(
                f"{self.message.type}: a handler has one transaction, the one that ends its message"
            )
        self._opened = True
        try:
            yield self._conn
        except BaseException:
            self.broken = (
                True  # alone, this would have rolled back; the handler may not hide it from its neighbours
            )
            raise


def _plain(value: object) -> str:
    """Asyncpg's UUIDs, such as a message's id, are a subclass of Python's, which orjson does not know."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError


async def _ended_already(conn: Connection) -> None:
    """The rows were deleted before the handlers ran."""
