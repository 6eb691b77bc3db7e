"""Puts messages where a test wants them, by the protocol's own statements."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.common.contracts.envelope import Draft, Message
from libs.common.contracts.topology import Lane
from libs.common.db import Connection
from libs.common.ids import IdFactory, id_floor, made_at
from libs.common.outbox import claim_store, end_store, put_store
from libs.common.outbox.claim_store import ClaimPlan
from libs.common.outbox.end_store import Attempt, Ending
from libs.common.outbox.names import bind
from libs.common.outbox.put_store import Outgoing

ORDERS = "webhook.orders.create"
SHOP = "first.myshopify.com"
OTHER_SHOP = "second.myshopify.com"
_ids = IdFactory()
PLAN = ClaimPlan("worker", "worker:test", lease_seconds=600)
ATTEMPT = "SELECT attempt FROM SOURCE.outbox WHERE id = $1"
EXPIRED = ClaimPlan("worker", "worker:gone", lease_seconds=-1)


@asynccontextmanager
async def open_places(url: str) -> AsyncIterator["Places"]:
    async with asyncpg.create_pool(url, min_size=1, max_size=8) as pool:
        yield Places(pool)


def id_at(moment: datetime) -> UUID:
    """A UUIDv7 as it could have been made at that moment."""
    return UUID(int=id_floor(moment).int | secrets.randbits(62))


@asynccontextmanager
async def moving(*moves: Coroutine[Any, Any, None]) -> AsyncIterator[Callable[[], None]]:
    """Runs endless moves beside the block, which is given a check that none of them has failed."""
    movers = [asyncio.create_task(move) for move in moves]

    def check() -> None:
        for mover in movers:
            if mover.done():
                mover.result()

    try:
        yield check
    finally:
        for mover in movers:
            mover.cancel()
        await asyncio.wait(movers)
    assert all(mover.cancelled() for mover in movers)


class Places:
    """One source's messages on their ways."""

    def __init__(self, pool: asyncpg.Pool, source: str = "webhooks") -> None:
        self.pool = pool
        self.source = source

    def of(self, source: str) -> "Places":
        return Places(self.pool, source)

    async def pending(
        self, kind: str = ORDERS, shop: str = SHOP, *, at: datetime | None = None, lane: Lane = Lane.DEFAULT
    ) -> Message:
        """Accepted, and free to be claimed."""
        return await self._put(kind, shop, at, lane, leased=False)

    async def queued(self, kind: str = ORDERS, shop: str = SHOP, *, at: datetime | None = None) -> Message:
        """Accepted, and on its way through RabbitMQ."""
        return await self._put(kind, shop, at, Lane.DEFAULT, leased=True)

    async def processing(
        self, kind: str = ORDERS, shop: str = SHOP, *, at: datetime | None = None
    ) -> Message:
        return await self.claim(await self.pending(kind, shop, at=at))

    async def scheduled(self, kind: str = ORDERS, shop: str = SHOP, *, at: datetime | None = None) -> Message:
        """Failed once, and waiting for its next try."""
        message = await self.processing(kind, shop, at=at)
        await self.fail_once(message)
        return message

    async def failed(self, kind: str = ORDERS, shop: str = SHOP, *, at: datetime | None = None) -> Message:
        """Failed twice, and given up."""
        message = await self.scheduled(kind, shop, at=at)
        await self.rush(message)
        await self.give_up(message)
        return message

    async def completed(
        self,
        kind: str = ORDERS,
        shop: str = SHOP,
        *,
        at: datetime | None = None,
        outcome: str = "completed",
        route: str = "postgres",
    ) -> Message:
        message = await self.pending(kind, shop, at=at)
        await self.complete(message, outcome=outcome, route=route)
        return message

    async def claim(self, message: Message, plan: ClaimPlan = PLAN) -> Message:
        async with self.pool.acquire() as conn:
            (claimed,) = await claim_store.claim(
                conn, self.source, plan, lane=Lane.DEFAULT, after=UUID(int=message.id.int - 1), limit=1
            )
        assert claimed.message.id == message.id
        return claimed.message

    async def fail_once(self, message: Message, error: str = "it hurts", seconds: float = 600) -> None:
        async with self.pool.acquire() as conn:
            assert await end_store.schedule(
                conn, "worker", await self._as_it_is(conn, message), Lane.DEFAULT,
                delay_seconds=seconds, reason="retry", attempt=_attempt(error), counted=True,
            )  # fmt: skip

    async def give_up(self, message: Message, error: str = "it still hurts") -> None:
        async with self.pool.acquire() as conn:
            assert await end_store.fail(
                conn, "worker", await self._as_it_is(conn, message), Lane.DEFAULT,
                reason="exhausted", attempt=_attempt(error),
            )  # fmt: skip

    async def _as_it_is(self, conn: Connection, message: Message) -> Message:
        """The message at the attempt its row is at: who knows an older one moves nothing."""
        failed = await conn.fetchval(bind(ATTEMPT, source=self.source), message.id)
        return replace(message, attempt=failed + 1)

    async def rush(self, message: Message) -> None:
        """Back into the outbox, wherever it is."""
        async with self.pool.acquire() as conn:
            assert await end_store.replay(conn, self.source, "worker", message.id)

    async def complete(
        self, message: Message, *, outcome: str = "completed", route: str = "postgres"
    ) -> None:
        ending = Ending(message, Lane.DEFAULT, outcome, "orders.keep_order", route, datetime.now(UTC))
        async with self.pool.acquire() as conn:
            assert await end_store.end_one(conn, "worker", ending)

    async def _put(self, kind: str, shop: str, at: datetime | None, lane: Lane, *, leased: bool) -> Message:
        identifier = id_at(at) if at else _ids.new()
        draft = Draft(kind, b"{}", shop=shop, subject="gid://shopify/Order/1", correlation_id="an-event")
        out = Outgoing(identifier, draft, lane, ("worker",), leased, made_at(identifier))
        async with self.pool.acquire() as conn:
            await put_store.put(conn, self.source, [out], holder="broker:test", lease_seconds=600)
        return Message(out.id, kind, self.source, shop, out.time, b"{}")


def _attempt(error: str) -> Attempt:
    now = datetime.now(UTC)
    return Attempt(now, now, error, "postgres")
