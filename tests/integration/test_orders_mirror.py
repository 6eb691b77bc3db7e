"""Whatever order webhooks come in, and however often, the mirror shows each order's newest state."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft, InvalidBody, Message
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.runtime.context import SharedContext
from libs.common.runtime.handlers import collect
from libs.common.runtime.outcomes import Never
from libs.common.settings import CommonSettings
from services.worker import service
from services.worker.app import open_service
from services.worker.config import Settings
from services.worker.handlers import orders
from services.worker.service import Books
from tests.environment import MakeSettings
from tests.waiting import poll

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "webhooks"
SHOP, OTHER_SHOP = "first.myshopify.com", "second.myshopify.com"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HANDLERS = collect([orders])

Json = dict[str, Any]


@dataclass
class Mirror:
    """The handler that ships, and what it keeps."""

    pool: asyncpg.Pool
    producer: Producer

    async def deliver(self, topic: str, payload: object, at: datetime = NOON, shop: str = SHOP) -> None:
        await self._take(f"webhook.orders.{topic}", payload, at, shop)

    async def fetch(self, payload: object, at: datetime = NOON) -> None:
        """As a backfill brings it that Shopify began to collect then."""
        await self._take("backfill.orders", payload, at, SHOP)

    async def _take(self, kind: str, payload: object, at: datetime, shop: str) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        message = Message(uuid4(), kind, "webhooks", shop, at, body)
        handler = HANDLERS.find(message.type)
        assert handler is not None
        async with self.pool.acquire() as conn, conn.transaction():
            context = SharedContext(message, conn, pool=self.pool, producer=self.producer)
            await handler.function(message, context)

    async def row(self, identifier: int, shop: str = SHOP) -> asyncpg.Record | None:
        return await self.pool.fetchrow(
            "SELECT * FROM worker.orders WHERE shop = $1 AND order_id = $2", shop, identifier
        )

    async def kept(self, identifier: int, shop: str = SHOP) -> asyncpg.Record:
        row = await self.row(identifier, shop)
        assert row is not None
        return row


@pytest.fixture
async def mirror(database: str, settings: MakeSettings) -> AsyncIterator[Mirror]:
    made = settings(CommonSettings, database_url=database)
    async with (
        asyncpg.create_pool(database, min_size=1, max_size=4) as pool,
        open_producer(made, schema="worker", pool=pool) as producer,
    ):
        yield Mirror(pool, producer)


def order(identifier: int = 1, updated: datetime | None = NOON, **changes: object) -> Json:
    payload: Json = {
        "id": identifier,
        "name": "#1001",
        "currency": "EUR",
        "total_price": "100.10",
        "financial_status": "pending",
        "fulfillment_status": None,
        "cancelled_at": None,
        "email": "somebody@example.com",
    }
    if updated is not None:
        payload["updated_at"] = updated.isoformat()
    return payload | changes


async def test_what_is_kept(mirror: Mirror) -> None:
    await mirror.deliver("create", order(2**53 + 1, total_price="1234567890.123456"))
    assert dict(await mirror.kept(2**53 + 1)) == {
        "shop": SHOP,
        "order_id": 2**53 + 1,
        "name": "#1001",
        "currency": "EUR",
        "total_price": Decimal("1234567890.123456"),
        "financial_status": "pending",
        "fulfillment_status": None,
        "cancelled_at": None,
        "deleted": False,
        "updated_at": NOON,
        "triggered_at": NOON,
    }


async def test_the_same_again_changes_nothing(mirror: Mirror) -> None:
    await mirror.deliver("create", order())
    before = await mirror.kept(1)
    await mirror.deliver("create", order())
    assert await mirror.kept(1) == before


async def test_shops_with_the_same_order_id_are_apart(mirror: Mirror) -> None:
    await mirror.deliver("create", order(name="ours"))
    await mirror.deliver("create", order(name="theirs"), shop=OTHER_SHOP)
    assert (await mirror.kept(1))["name"] == "ours"
    assert (await mirror.kept(1, OTHER_SHOP))["name"] == "theirs"


async def test_any_order_of_arrival_ends_in_the_newest_state(mirror: Mirror) -> None:
    events = [
        ("create", {"financial_status": "pending"}),
        ("paid", {"financial_status": "paid", "total_price": "90.00"}),
        ("fulfilled", {"financial_status": "paid", "fulfillment_status": "fulfilled"}),
        (
            "updated",
            {"financial_status": "refunded", "fulfillment_status": "fulfilled", "total_price": "0.00"},
        ),
    ]
    numbered = list(enumerate(events))
    for identifier, arrival in enumerate(permutations(numbered), start=1):
        for minute, (topic, changes) in arrival:
            moment = NOON + timedelta(minutes=minute)
            await mirror.deliver(topic, order(identifier, moment, **changes), at=moment)
        row = await mirror.kept(identifier)
        assert (row["financial_status"], row["fulfillment_status"]) == ("refunded", "fulfilled"), arrival
        assert row["total_price"] == Decimal("0.00")
        assert row["updated_at"] == NOON + timedelta(minutes=3)


async def test_within_one_second_the_later_trigger_wins(mirror: Mirror) -> None:
    first, second = NOON + timedelta(milliseconds=100), NOON + timedelta(milliseconds=900)
    await mirror.deliver("updated", order(1, name="second"), at=second)
    await mirror.deliver("updated", order(1, name="first"), at=first)
    assert (await mirror.kept(1))["name"] == "second"
    await mirror.deliver("updated", order(2, name="first"), at=first)
    await mirror.deliver("updated", order(2, name="second"), at=second)
    assert (await mirror.kept(2))["name"] == "second"


async def test_without_updated_at_the_time_of_the_trigger_counts(mirror: Mirror) -> None:
    await mirror.deliver("updated", order(updated=None, name="newer"), at=NOON + timedelta(minutes=1))
    await mirror.deliver("updated", order(updated=NOON, name="older"), at=NOON + timedelta(minutes=2))
    assert (await mirror.kept(1))["name"] == "newer"
    await mirror.deliver("updated", order(updated=None, name="newest"), at=NOON + timedelta(minutes=3))
    assert (await mirror.kept(1))["name"] == "newest"


async def test_a_partial_payload_changes_only_what_it_names(mirror: Mirror) -> None:
    await mirror.deliver("create", order(cancelled_at=NOON.isoformat()))
    later = NOON + timedelta(minutes=1)
    await mirror.deliver(
        "updated",
        {"id": 1, "updated_at": later.isoformat(), "financial_status": "paid", "cancelled_at": None},
    )
    row = await mirror.kept(1)
    assert (row["name"], row["total_price"], row["financial_status"]) == ("#1001", Decimal("100.10"), "paid")
    assert (row["cancelled_at"], row["updated_at"]) == (None, later)


class TestDeleted:
    async def test_an_order_that_was_seen(self, mirror: Mirror) -> None:
        await mirror.deliver("create", order())
        await mirror.deliver("delete", {"id": 1}, at=NOON + timedelta(minutes=5))
        assert (await mirror.kept(1))["deleted"]

    async def test_an_older_update_does_not_bring_it_back(self, mirror: Mirror) -> None:
        deleted = NOON + timedelta(minutes=5)
        await mirror.deliver("delete", {"id": 1}, at=deleted)
        for topic, late in (("create", timedelta(hours=1)), ("updated", timedelta(days=1))):
            await mirror.deliver(topic, order(updated=NOON), at=NOON + late)
        row = await mirror.kept(1)
        assert (row["deleted"], row["updated_at"], row["name"]) == (True, deleted, None)

    async def test_an_older_delete_does_not_bury_it(self, mirror: Mirror) -> None:
        await mirror.deliver("updated", order(updated=NOON + timedelta(minutes=5)))
        await mirror.deliver("delete", {"id": 1}, at=NOON)
        assert not (await mirror.kept(1))["deleted"]

    async def test_a_newer_update_brings_it_back(self, mirror: Mirror) -> None:
        await mirror.deliver("delete", {"id": 1}, at=NOON)
        await mirror.deliver("updated", order(updated=NOON + timedelta(minutes=5)))
        row = await mirror.kept(1)
        assert (row["deleted"], row["name"]) == (False, "#1001")


BAD = {
    "not JSON": b"{",
    "a list": [order()],
    "text": "order",
    "no id": {"name": "#1001"},
    "id as text": order() | {"id": "1"},
    "id as fraction": order() | {"id": 1.5},
    "id true": order() | {"id": True},
    "id too large": order() | {"id": 2**63},
    "id negative": order() | {"id": -1},
    "money as a number": order(total_price=100.1),
    "money in words": order(total_price="a hundred"),
    "money not a number": order(total_price="NaN"),
    "money without end": order(total_price="1e400000"),
    "a NUL": order(name="a\0b"),
    "a name of parts": order(name=["#1001"]),
    "no time": order(updated_at="yesterday"),
    "time without offset": order(updated_at="2026-11-20T12:00:00"),
    "time as number": order(updated_at=1763640000),
    "time before time": order(updated_at="0001-01-01T00:00:00+12:00"),
}


async def test_what_no_retry_will_mend_is_refused_in_words(mirror: Mirror) -> None:
    for what, payload in BAD.items():
        with pytest.raises((Never, InvalidBody), match=r"\b(not|no)\b"):
            await mirror.deliver("updated", payload)
        assert await mirror.row(1) is None, what
    for payload in ({}, {"id": None}, []):
        with pytest.raises(Never):
            await mirror.deliver("delete", payload)
    with pytest.raises(Never, match="names no shop"):
        await mirror.deliver("updated", order(), shop="")


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded webhooks are not here")
async def test_every_recorded_order_is_kept(mirror: Mirror) -> None:
    files = [path for path in sorted(FIXTURES.glob("orders__*.json")) if "edited" not in path.name]
    assert len(files) > 30
    for number, path in enumerate(files):
        payload, shop = json.loads(path.read_bytes(), parse_float=Decimal), f"shop-{number}.myshopify.com"
        topic = path.name.split(".")[0].removeprefix("orders__")
        await mirror.deliver(topic, path.read_bytes(), shop=shop)
        row = await mirror.kept(payload["id"], shop)
        for name in ("name", "currency", "financial_status", "fulfillment_status"):
            assert row[name] == payload.get(name), path.name
        assert row["total_price"] == (Decimal(payload["total_price"]) if "total_price" in payload else None)
        assert row["deleted"] == (topic == "delete")


def test_edited_orders_are_left_to_the_update_beside_them() -> None:
    assert HANDLERS.find("webhook.orders.edited") is None


async def test_from_acceptance_to_the_mirror(mirror: Mirror, database: str, settings: MakeSettings) -> None:
    made = settings(Settings, database_url=database)
    books = Books(mirror.pool, SystemClock(), timeout=10)

    async def ended() -> bool:
        stats = await service.stats(books)
        return bool(stats["completed"] + stats["failed"] == stats["accepted"])

    async with (
        open_producer(made, schema="webhooks", pool=mirror.pool) as producer,
        open_service(made, registry=HANDLERS),
    ):
        for number in range(1, 121):
            moment = NOON + timedelta(minutes=number)
            body = json.dumps(order(number % 40 + 1, moment, name=f"#{number}")).encode()
            await producer.accept(Draft("webhook.orders.updated", body, shop=SHOP, time=moment))
        await producer.accept(Draft("webhook.orders.updated", b'{"id": null}', shop=SHOP))
        await producer.accept(Draft("webhook.orders.edited", b"{}", shop=SHOP))
        await poll(ended)
        stats = await service.stats(books)
    assert (stats["completed"], stats["failed"], stats["unhandled"]) == (121, 1, 1)
    names = {row["name"] for row in await mirror.pool.fetch("SELECT name FROM worker.orders")}
    assert names == {f"#{number}" for number in range(81, 121)}
    error = await mirror.pool.fetchval("SELECT error FROM worker.failed")
    assert "the order has no id" in error


def fetched(updated: datetime = NOON, **changes: object) -> Json:
    return {
        "id": "gid://shopify/Order/1",
        "name": "#1001",
        "currencyCode": "EUR",
        "totalPriceSet": {"shopMoney": {"amount": "12.5", "currencyCode": "EUR"}},
        "displayFinancialStatus": "PARTIALLY_REFUNDED",
        "displayFulfillmentStatus": "PARTIALLY_FULFILLED",
        "cancelledAt": None,
        "updatedAt": updated.isoformat(),
        "lineItems": [],
        **changes,
    }


async def test_what_a_backfill_fetched_is_kept_as_webhooks_would_tell_it(mirror: Mirror) -> None:
    await mirror.fetch(fetched())
    row = await mirror.kept(1)
    assert (row["name"], row["currency"], row["total_price"]) == ("#1001", "EUR", Decimal("12.50"))
    assert (row["financial_status"], row["fulfillment_status"]) == ("partially_refunded", "partial")
    await mirror.fetch(fetched(NOON + timedelta(1), displayFulfillmentStatus="UNFULFILLED"))
    assert (await mirror.kept(1))["fulfillment_status"] is None


@pytest.mark.parametrize("webhook_first", [True, False])
async def test_a_backfill_never_overwrites_what_is_newer(mirror: Mirror, webhook_first: bool) -> None:
    """Newer by its update, or in the same second by being told after Shopify began to collect."""
    later = NOON + timedelta(seconds=1)
    for updated in (later, NOON):
        await mirror.pool.execute("TRUNCATE worker.orders")
        if webhook_first:
            await mirror.deliver("updated", order(updated=updated, name="new"), later)
        await mirror.fetch(fetched(NOON, name="old"), NOON)
        if not webhook_first:
            await mirror.deliver("updated", order(updated=updated, name="new"), later)
        assert (await mirror.kept(1))["name"] == "new"


async def test_a_backfill_brings_no_deleted_order_back(mirror: Mirror) -> None:
    await mirror.deliver("delete", {"id": 1}, NOON + timedelta(seconds=1))
    await mirror.fetch(fetched())
    assert (await mirror.kept(1))["deleted"]


@pytest.mark.parametrize(
    "changes",
    [{"id": 1}, {"id": "gid://shopify/Customer/1"}, {"totalPriceSet": None}, {"updatedAt": "yesterday"}],
)
async def test_what_is_no_order_of_a_backfill_is_given_up(mirror: Mirror, changes: Json) -> None:
    with pytest.raises(Never):
        await mirror.fetch(fetched(**changes))
