"""A producer that dies at any point between two steps: what it accepted is done once, and is answered with one id."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest

from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import EXTERNAL, ExternalDestination
from libs.common.db import open_pool
from libs.common.outbox import relay
from libs.common.outbox.faults import FaultPoints, Point
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.runtime import claims
from tests.integration.dying import HANDLERS, Death
from tests.integration.protocol import LONG, System, system, trusted
from tests.integration.test_relay import ERP, erp_queue
from tests.waiting import poll

DELIVERY = Draft("webhook.plain", b"{}", shop="a.myshopify.com", key="the webhook's id")
LEFT_FOR_ERP = "SELECT count(*) = 0 FROM webhooks.outbox WHERE destination = 'erp'"

ACCEPTING: tuple[Point, ...] = ("received, not stored", "stored, not announced", "stored, not answered")
ON_THE_WAY = [
    *((point, rabbitmq) for point in ACCEPTING for rabbitmq in (False, True)),
    ("committed, not published", True),
    ("confirmed, not noted", True),
]
FREEING: tuple[Point, ...] = ("lost, not freed", "freed, not announced")


@pytest.fixture(autouse=True)
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a death left is found soon after its lease ended."""
    monkeypatch.setattr(claims, "SWEEP_SECONDS", 0.3)


@pytest.fixture
async def one(database: str, broker_url: str) -> AsyncIterator[System]:
    async with system(database, broker_url, broker_lease_seconds=2.5, broker_confirm_seconds=1.0) as ready:
        yield ready


@asynccontextmanager
async def producing(
    one: System,
    faults: FaultPoints | None = None,
    *,
    externals: tuple[ExternalDestination, ...] = EXTERNAL,
    rabbitmq: bool = True,
) -> AsyncIterator[Producer]:
    """Another process of the webhooks service."""
    settings = one.settings if rabbitmq else one.settings.model_copy(update={"rabbitmq_url": None})
    async with (
        open_pool(settings) as pool,
        open_producer(settings, schema="webhooks", pool=pool, externals=externals, faults=faults) as producer,
    ):
        await trusted(producer)
        yield producer


@pytest.mark.parametrize(("point", "rabbitmq"), ON_THE_WAY)
async def test_a_sender_without_an_answer_sends_again_and_there_is_one_message(
    one: System, point: Point, rabbitmq: bool
) -> None:
    death = Death(point)
    async with producing(one, death, rabbitmq=rabbitmq) as dying:
        unanswered = asyncio.create_task(dying.accept(DELIVERY))
        await asyncio.wait_for(death.reached.wait(), LONG)
        receipt = await one.producer.accept(DELIVERY)
        assert receipt.duplicate == (point != "received, not stored")
        async with one.working(HANDLERS):
            await one.finished()
            death.undone.set()
            assert (await unanswered).id == receipt.id
            await one.finished()
    await one.done_once([receipt.id])


@pytest.mark.parametrize("point", FREEING)
async def test_what_a_producer_dies_freeing_is_done_once(one: System, point: Point) -> None:
    death = Death(point)
    async with producing(one, death) as dying:
        assert dying.broker is not None
        receipt = await dying.accept(DELIVERY)
        dying.broker.lost("timeout")
        await asyncio.wait_for(death.reached.wait(), LONG)
        async with one.working(HANDLERS):
            await one.finished()
            death.undone.set()
            await asyncio.wait_for(dying.broker.drained(), LONG)
            await one.finished()
    await one.done_once([receipt.id])


@pytest.mark.parametrize(("point", "copies"), [("claimed, not relayed", 1), ("relayed, not ended", 2)])
async def test_another_producer_brings_a_program_what_the_dead_one_had_in_hand(
    one: System, broker_url: str, monkeypatch: pytest.MonkeyPatch, point: Point, copies: int
) -> None:
    monkeypatch.setattr(relay, "_LEASE_SECONDS", 1.0)
    death = Death(point)
    async with await aio_pika.connect(broker_url) as connection:
        queue = await erp_queue(connection)
        async with producing(one, death, externals=(ERP,)) as dying:
            await dying.accept(Draft("webhook.orders.create", b"{}"))
            await asyncio.wait_for(death.reached.wait(), LONG)
            async with producing(one, externals=(ERP,)):
                await poll(lambda: one.pool.fetchval(LEFT_FOR_ERP), within=LONG)
            got = [await poll(lambda: queue.get(fail=False, no_ack=True)) for _ in range(copies)]
            assert await queue.get(fail=False, no_ack=True) is None
            death.undone.set()
    assert len({message.headers["cloudEvents:id"] for message in got if message is not None}) == 1
