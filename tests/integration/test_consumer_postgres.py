"""Working without RabbitMQ: Postgres alone brings every message to its end, once, whatever happens to it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from services.worker.sdk import Context, Message, on
from tests.integration.protocol import LONG, System, effect, registry, system
from tests.integration.senders import Traffic
from tests.servers.postgres import PostgresServer
from tests.waiting import poll


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database, database_timeout_seconds=1.0) as ready:
        yield ready


@on("webhook.plain")
async def keep(message: Message, ctx: Context) -> None:
    await asyncio.sleep(0.002)
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("webhook.shared", together=20)
async def share(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("webhook.chain")
async def begin_chain(message: Message, ctx: Context) -> None:
    await ctx.emit("test.end", shop=str(message.id))
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("test.end", batch=20)
async def end_chain(messages: list[Message], ctx: Context) -> None:
    async with ctx.transaction() as tx:
        for message in messages:
            await effect(tx, message, message.shop)


@on("webhook.careless")
async def shrug(message: Message, ctx: Context) -> None:
    with suppress(Exception):
        async with ctx.transaction() as tx:
            await effect(tx, message)


ALL = registry(keep, share, begin_chain, end_chain, shrug)


async def judged(one: System, traffic: Traffic) -> None:
    """Fails unless all that was accepted, and all that it emitted, was done once and in one attempt."""
    history = await one.history()
    accepted = set(traffic.accepted.values())
    emitted = {identifier for identifier, row in history.items() if row["source"] == "worker"}
    chains = [
        str(identifier) for key, identifier in traffic.accepted.items() if key.startswith("webhook.chain")
    ]
    await one.done_once(accepted | emitted)
    assert Counter(note for note in await one.notes() if note) == Counter(chains)


@pytest.mark.parametrize("outage", ["restart", "kill", "freeze"])
async def test_an_outage_of_postgres_uses_up_no_attempt_and_doubles_nothing(
    one: System, postgres: PostgresServer, outage: str
) -> None:
    async with one.working(ALL) as worker, one.working(ALL):
        async with one.traffic(
            "webhook.plain", "webhook.shared", "webhook.chain", "webhook.careless"
        ) as traffic:
            await traffic.more()
            await asyncio.to_thread(getattr(postgres, outage))
            if outage != "restart":
                await poll(lambda: traffic.refused > 3, within=LONG)
                await asyncio.to_thread(postgres.heal)
            await traffic.more()
        await one.finished()
        assert worker.consumer.state() is None
        await judged(one, traffic)


async def test_copies_in_many_hands_have_one_effect(one: System) -> None:
    """Leases are taken away while handlers run, so that two workers have the same messages."""

    @on("webhook.slow")
    async def slow(message: Message, ctx: Context) -> None:
        calls[message.id] += 1
        await asyncio.sleep(0.05)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    calls = Counter[UUID]()
    ids = await one.accept_many(300, "webhook.slow")
    async with one.working(registry(slow)), one.working(registry(slow)):
        for part in (50, 150):
            await poll(lambda part=part: len(calls) >= part)  # type: ignore[misc]
            await one.free_all()
        await one.finished()
    assert max(calls.values()) > 1  # else nothing was shown
    await one.done_once(ids)


async def test_a_slow_handler_keeps_its_message(one: System) -> None:
    calls: list[UUID] = []

    @on("webhook.slow")
    async def slow(message: Message, ctx: Context) -> None:
        calls.append(message.id)
        row = await one.row(message.id)
        assert row is not None
        await poll(
            lambda: one.pool.fetchval("SELECT now() > $1", row["leased_until"])
        )  # its first lease is over
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with (
        one.working(registry(slow), consumer_lease_seconds=1.0),
        one.working(registry(slow), consumer_lease_seconds=1.0),
    ):
        identifier = await one.accept("webhook.slow")
        await one.finished()
    assert calls == [identifier]
    await one.done_once([identifier])


async def test_what_a_dead_worker_had_in_hand_is_done_by_another(one: System) -> None:
    started = asyncio.Event()

    @on("webhook.plain")
    async def hang(message: Message, ctx: Context) -> None:
        started.set()
        async with ctx.transaction() as tx:
            await effect(tx, message)
            await asyncio.Event().wait()

    ids = await one.accept_many(40, "webhook.plain")
    async with one.working(registry(hang), consumer_lease_seconds=1.0) as victim:
        await started.wait()
        await victim.crash()
    async with one.working(ALL):
        await one.finished()
    await one.done_once(ids)


async def test_a_handlers_statement_may_take_as_long_as_its_handler(one: System) -> None:
    """The deadline of the runtime's own statements, a second here, is not for handlers."""

    @on("webhook.heavy")
    async def calculate(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("SELECT pg_sleep(1.5)")
            await effect(tx, message)

    async with one.working(registry(calculate)):
        identifier = await one.accept("webhook.heavy")
        await one.finished()
    await one.done_once([identifier])


class WrongClock(SystemClock):
    """A machine whose clock is off."""

    def __init__(self, hours: int) -> None:
        self._off = timedelta(hours=hours)

    def now(self) -> datetime:
        return super().now() + self._off


async def test_producers_with_wrong_clocks_are_heard(one: System) -> None:
    """Ids carry the producer's time, and consumers go by ids: what is far behind must not be overlooked."""
    ids: list[UUID] = []
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(one.settings))
        producers = [
            await stack.enter_async_context(
                open_producer(one.settings, schema="webhooks", pool=pool, clock=WrongClock(hours))
            )
            for hours in (-5, 0, 5)
        ]
        await stack.enter_async_context(one.working(ALL))
        for _ in range(10):
            ids += [(await producer.accept(Draft("webhook.plain", b"{}"))).id for producer in producers]
            await one.finished()
    await one.done_once(ids)


async def test_full_bulk_lanes_hold_up_nothing_critical(one: System) -> None:
    """Neither a critical message, nor its retry, nor what it emits, waits for the bulk work."""
    release = asyncio.Event()

    @on("pixel.frame")
    async def crawl(message: Message, ctx: Context) -> None:
        await release.wait()

    @on("webhook.shop.redact", "token.rotated")
    async def redact(message: Message, ctx: Context) -> None:
        if message.type == "webhook.shop.redact":
            if message.attempt == 1:
                raise ValueError("once more")
            await ctx.emit("token.rotated")
        async with ctx.transaction() as tx:
            await effect(tx, message)

    handlers = registry(crawl, redact)
    async with one.working(handlers, consumer_concurrency=4, consumer_buffer=10, consumer_claim_batch=10):
        bulk = await one.accept_many(60, "pixel.frame")
        await poll(
            lambda: one.pool.fetchval(
                "SELECT count(*) >= 10 FROM webhooks.outbox WHERE holder LIKE 'worker:%'"
            )
        )
        await one.accept("webhook.shop.redact")
        await poll(lambda: one.pool.fetchval("SELECT count(*) = 2 FROM worker.history"), within=20)
        release.set()
        await one.finished()
    assert len(await one.history()) == len(bulk) + 2


async def test_the_unstarted_and_the_started_survive_a_worker_that_loses_all_its_connections(
    one: System,
) -> None:
    ids = await one.accept_many(200, "webhook.plain")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker'"
    async with one.working(ALL):
        for done in (20, 60, 100):
            await poll(lambda done=done: one.pool.fetchval("SELECT count(*) > $1 FROM worker.history", done))  # type: ignore[misc]
            await one.pool.execute(cut)
        await one.finished()
    await one.done_once(ids)
