"""Messages that share a transaction pay for no neighbour's fault, on both routes alike."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from libs.common.outbox.faults import FaultPoints
from services.worker.sdk import Context, Message, Never, on
from tests.integration.protocol import EFFECT, System, effect, registry, system

TRANSACTION = "SELECT pg_current_xact_id()::text"


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


@pytest.fixture
async def one(database: str, broker: str | None) -> AsyncIterator[System]:
    async with system(database, broker) as ready:
        yield ready


def refuse(message: Message) -> None:
    if message.body == b"bad":
        raise Never("this one is bad")
    if message.body == b"flaky" and message.attempt == 1:
        raise ValueError("not yet")


@on("webhook.shared", together=25)
async def share(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message, await tx.fetchval(TRANSACTION))
        refuse(message)


@on("webhook.shared", batch=25)
async def store(messages: list[Message], ctx: Context) -> None:
    async with ctx.transaction() as tx:
        transaction = await tx.fetchval(TRANSACTION)
        await tx.executemany(EFFECT, [(message.id, transaction) for message in messages])
        for message in messages:
            refuse(message)


Handler = Callable[..., Awaitable[None]]
kinds = pytest.mark.parametrize("handler", [share, store])


async def send(one: System, bodies: list[bytes]) -> list[UUID]:
    return [await one.accept("webhook.shared", body) for body in bodies]


@kinds
async def test_waiting_messages_share_transactions(one: System, handler: Handler) -> None:
    ids = await one.accept_many(200, "webhook.shared")
    async with one.working(registry(handler)):
        await one.finished()
    await one.done_once(ids)
    sizes = Counter(await one.notes())
    assert max(sizes.values()) > 1
    assert max(sizes.values()) <= 25


@kinds
async def test_one_that_fails_hurts_nobody_else(one: System, handler: Handler) -> None:
    ids = await send(one, [b"bad" if number == 17 else b"good" for number in range(60)])
    async with one.working(registry(handler)):
        await one.finished()
    assert set(await one.failed()) == {ids[17]}
    assert set(await one.history()) == set(ids) - {ids[17]}
    assert await one.effects() == Counter(set(ids) - {ids[17]})
    assert {row["attempts"] for row in (await one.history()).values()} == {1}


@kinds
async def test_one_that_needs_a_second_try_gets_it_alone(one: System, handler: Handler) -> None:
    ids = await send(one, [b"flaky" if number in (3, 40) else b"good" for number in range(50)])
    async with one.working(registry(handler)):
        await one.finished(hurry=True)
    history = await one.history()
    assert await one.effects() == Counter(ids)
    assert {identifier for identifier, row in history.items() if row["attempts"] == 2} == {ids[3], ids[40]}
    assert await one.failed() == {}


@kinds
async def test_those_whose_rows_are_gone_have_no_effect_and_take_nobody_along(
    one: System, handler: Handler
) -> None:
    ids = await one.accept_many(50, "webhook.shared")
    gone = set(sorted(ids)[5:10])

    async def another_ends_them() -> None:
        await one.pool.execute("DELETE FROM webhooks.outbox WHERE id = ANY ($1)", list(gone))

    async with one.working(
        registry(handler), faults=FaultPoints({"claimed, not started": another_ends_them})
    ):
        await one.finished()
    await one.done_once(set(ids) - gone)


async def test_a_batch_that_talks_to_no_database_ends_all_its_messages(one: System) -> None:
    sizes: list[int] = []

    @on("webhook.shared", batch=30)
    async def count(messages: list[Message], ctx: Context) -> None:
        sizes.append(len(messages))

    ids = await one.accept_many(90, "webhook.shared")
    async with one.working(registry(count)):
        await one.finished()
    assert sum(sizes) == 90
    assert max(sizes) > 1
    assert set(await one.history()) == set(ids)


async def test_a_statement_that_fails_and_is_swallowed_is_not_hidden_from_the_neighbours(one: System) -> None:
    @on("webhook.shared", together=25, retries=0)
    async def swallow(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)
            if message.body == b"bad":
                try:
                    await tx.execute(EFFECT, None, "not null is violated")
                except asyncpg.NotNullViolationError:
                    ctx.log.info("Never mind.")

    ids = await send(one, [b"bad" if number == 24 else b"good" for number in range(25)])
    async with one.working(registry(swallow)):
        await one.finished()
    assert await one.effects() == Counter(ids[:24])
    assert set(await one.history()) == set(ids[:24])
    assert set(await one.failed()) == {ids[24]}


@pytest.mark.parametrize("bad", [None, 7])
async def test_what_a_group_emits_goes_out_once(one: System, bad: int | None) -> None:
    @on("webhook.shared", together=25)
    async def emit(message: Message, ctx: Context) -> None:
        await ctx.emit("test.link", shop=str(message.id))
        refuse(message)

    @on("test.link", together=25)
    async def link(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message, message.shop)

    ids = await send(one, [b"bad" if number == bad else b"good" for number in range(50)])
    async with one.working(registry(emit, link)):
        await one.finished()
    emitted = Counter(await one.notes())
    assert emitted == Counter(str(identifier) for number, identifier in enumerate(ids) if number != bad)
