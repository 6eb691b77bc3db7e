"""A disk without room is Postgres' absence; a message whose handler fills it by itself is found out."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from libs.common.contracts.envelope import Message
from libs.common.migrate import migrate
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import on
from tests.integration.protocol import System, counted, effect, registry, system
from tests.servers.postgres import PostgresServer
from tests.servers.small_disk import why_no_small_disk
from tests.waiting import poll

MEGABYTE = "x" * (1 << 20)
SPILL = "SELECT count(*) FROM (SELECT repeat('x', 100) FROM generate_series(1, 5000000) AS n ORDER BY random()) AS much"


@pytest.fixture(scope="module")
def small_postgres() -> Iterator[PostgresServer]:
    """A server whose disk can be full."""
    if reason := why_no_small_disk():
        pytest.skip(reason)
    with PostgresServer(disk_bytes=200 << 20) as server:
        server.create_database("template_migrated")
        migrate(server.url("template_migrated"))
        yield server


@pytest.fixture
async def small(small_postgres: PostgresServer, request: pytest.FixtureRequest) -> AsyncIterator[System]:
    name = f"small_{abs(hash(request.node.name))}"
    small_postgres.create_database(name, "template_migrated")
    async with system(small_postgres.url(name), database_timeout_seconds=5.0) as ready:
        await ready.pool.execute("ALTER TABLE worker.effects ALTER note SET STORAGE EXTERNAL")
        yield ready
        small_postgres.heal()


def given_back(reason: str) -> float:
    return counted("worker_given_back_total", service="worker", reason=reason)


async def test_a_full_disk_uses_up_no_attempt(small: System, small_postgres: PostgresServer) -> None:
    full = asyncio.Event()

    @on("webhook.alone")
    async def alone(message: Message, ctx: Context) -> None:
        await full.wait()
        async with ctx.transaction() as tx:
            await effect(tx, message, MEGABYTE)

    @on("webhook.shared", together=5)
    async def shared(message: Message, ctx: Context) -> None:
        await full.wait()
        async with ctx.transaction() as tx:
            await effect(tx, message, MEGABYTE)

    @on("webhook.batch", batch=5)
    async def batch(messages: list[Message], ctx: Context) -> None:
        await full.wait()
        async with ctx.transaction() as tx:
            for message in messages:
                await effect(tx, message, MEGABYTE)

    kinds = ("webhook.alone", "webhook.shared", "webhook.batch")
    ids = [await small.accept(kind) for kind in kinds for _ in range(5)]
    before = given_back("interrupted")
    async with small.working(registry(alone, shared, batch), consumer_concurrency=8):
        await poll(
            lambda: small.pool.fetchval("SELECT count(*) >= 8 FROM webhooks.outbox WHERE holder IS NOT NULL")
        )
        await asyncio.to_thread(small_postgres.fill_disk)
        full.set()
        await poll(lambda: given_back("interrupted") > before, within=30)
        await asyncio.to_thread(small_postgres.heal)
        await small.finished()
    await small.done_once(ids)


async def test_a_message_whose_handler_fills_the_disk_is_given_up_and_its_neighbours_are_done(
    small: System,
) -> None:
    starts: list[int] = []

    @on("webhook.greedy", retries=0)
    async def greedy(message: Message, ctx: Context) -> None:
        starts.append(message.attempt)
        async with ctx.transaction() as tx:
            await tx.execute(SPILL)

    @on("webhook.modest", retries=0)
    async def modest(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)

    guilty = await small.accept("webhook.greedy")
    ids = [await small.accept("webhook.modest") for _ in range(20)]
    async with small.working(registry(greedy, modest)):
        failed = await poll(small.failed, within=60)
        await small.finished()
    assert {identifier: row["reason"] for identifier, row in failed.items()} == {guilty: "poison"}
    assert set(starts) == {1}
    assert await small.effects() == Counter(ids)
