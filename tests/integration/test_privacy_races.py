"""A handler that is working on somebody while they are erased does not bring them back, on either route."""

import asyncio
from dataclasses import dataclass, field

import pytest

from libs.common.runtime.handlers import Handler, Registry
from services.worker.sdk import Context, Message
from tests.integration.privacy_kit import ANNA, BEN, A, dump, holding, world
from tests.waiting import poll

WRITE = "INSERT INTO worker.orders (shop, order_id, name, updated_at, triggered_at) VALUES ($1, $2, $3, now(), now())"
BURIED = "SELECT EXISTS (SELECT FROM webhooks.privacy_tombstones)"
HELD = "LOCK TABLE webhooks.privacy_tombstones IN SHARE MODE"
ARRIVED = """
INSERT INTO webhooks.arrivals (shop, family, resource_id, updated_at, topics) VALUES ($1, 'customers', $2, now(), '{}')
ON CONFLICT (shop, family, resource_id) DO UPDATE SET updated_at = now()
"""
ERASER_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND query LIKE '%webhooks.outbox%')
"""


@dataclass
class Slow:
    """A handler that stands still before its transaction, or in it."""

    inside: bool
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self, message: Message, ctx: Context) -> None:
        order = message.json()
        if not self.inside:
            await self._stand_still()
        async with ctx.transaction() as tx:
            await tx.execute(WRITE, message.shop, order["id"], order["customer"]["first_name"])
            await ctx.emit("order.kept", order)
            if self.inside:
                await self._stand_still()

    async def _stand_still(self) -> None:
        self.begun.set()
        await self.go.wait()

    def registry(self) -> Registry:
        return Registry([Handler("slow.keep", self.keep, ("webhook.orders.updated",), timeout=100)])


@pytest.mark.parametrize("broker", [False, True])
async def test_a_handler_that_has_not_begun_its_transaction_finds_its_message_gone(
    database: str, broker: bool, request: pytest.FixtureRequest
) -> None:
    slow = Slow(inside=False)
    changes = {"rabbitmq_url": request.getfixturevalue("broker_url")} if broker else {}
    async with world(database, handlers=slow.registry(), **changes) as one:
        message = await one.accept("orders.updated", ANNA.order(), A)
        await asyncio.wait_for(slow.begun.wait(), 30)
        await one.redact(ANNA)
        slow.go.set()
        await one.accept("orders.updated", BEN.order(), A)
        await poll(
            lambda: one.pool.fetchval("SELECT name FROM worker.orders WHERE order_id = $1", BEN.order_id)
        )
        outcome = await one.pool.fetchval("SELECT outcome FROM worker.history WHERE message_id = $1", message)
        assert outcome == "cancelled"
        assert holding(await dump(one.pool), ANNA.words()) == {}


async def test_a_handler_that_is_about_to_commit_is_waited_for_and_erased_after(database: str) -> None:
    slow = Slow(inside=True)
    async with world(database, handlers=slow.registry()) as one:
        await one.accept("orders.updated", ANNA.order(), A)
        await asyncio.wait_for(slow.begun.wait(), 30)
        request = await one.accept("customers.redact", ANNA.request(), A)
        await poll(lambda: one.pool.fetchval(ERASER_WAITS), within=40)
        slow.go.set()
        case = await one.case(request)
        assert holding(await dump(one.pool), ANNA.words()) == {}
    rows = {place: number for step in case["steps"] for place, number in step["rows"].items()}
    assert rows["worker.orders"] == 1
    assert rows["worker.messages"] == 1  # what the handler emitted


async def test_an_erasure_that_ends_waits_for_nobody_who_holds_tombstones_and_is_about_to_write(
    database: str,
) -> None:
    """As what has arrived is read: tombstones first, then rows that the erasure deletes."""
    async with world(database) as one, one.pool.acquire() as reader:
        await reader.execute(ARRIVED, A, ANNA.customer_id)
        request = await one.accept("customers.redact", ANNA.request(), A)
        await poll(lambda: one.pool.fetchval(BURIED), within=40)
        async with reader.transaction():
            await reader.execute(HELD)
            await one.case(request)
            await reader.execute(ARRIVED, A, ANNA.customer_id)
