"""A message that kills every worker that starts it is given up before it has killed many, and it alone."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from libs.common.runtime.dispatcher import POISON, SUSPICIOUS
from services.worker.sdk import Context, Message, on
from tests.integration.poison_worker import DIED
from tests.integration.protocol import CONSUMER, LONG, System, counted, effect, registry, system
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

ROOT = Path(__file__).parents[2]
MOST_DEATHS = SUSPICIOUS + POISON


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


async def run_worker(one: System) -> int:
    """Runs a worker until it dies, or until there is nothing left to do."""
    environment = {"TEST_DATABASE": one.database_url, "PYTHONPATH": str(ROOT)}
    if one.settings.rabbitmq_url is not None:
        environment["TEST_BROKER"] = one.settings.rabbitmq_url.get_secret_value()
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.poison_worker",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        return await worker.wait()
    finally:
        if worker.returncode is None:
            worker.kill()


async def test_poison_is_given_up_and_its_neighbours_are_all_done(database: str, broker: str | None) -> None:
    async with system(database, broker) as one:
        bodies = [b"poison" if number == 7 else b"food" for number in range(30)]
        ids = [await one.accept(body=body) for body in bodies]
        deaths = 0
        while (code := await run_worker(one)) != 0:
            assert code == DIED
            deaths += 1
            assert deaths <= MOST_DEATHS
        failed = await one.failed()
        assert set(failed) == {ids[7]}
        assert set(await one.history()) == set(ids) - {ids[7]}
        assert await one.effects() == Counter(set(ids) - {ids[7]})
        assert failed[ids[7]]["reason"] == "poison"
        assert "ended with its worker" in orjson.loads(failed[ids[7]]["log"])[-1]["error"]


@on("webhook.#", together=10)
async def break_postgres(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)
        if message.body == b"poison":
            await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_what_makes_postgres_break_off_each_time_is_found_out(
    database: str, broker: str | None
) -> None:
    """It looks like an outage each time, which uses up no attempt; but it is counted."""
    async with system(database, broker, broker_lease_seconds=2.0) as one:
        ids = [await one.accept(body=b"poison" if number == 7 else b"food") for number in range(30)]
        async with one.working(registry(break_postgres), consumer_lease_seconds=0.5):
            await one.finished()
        assert {row["reason"] for row in (await one.failed()).values()} == {"poison"}
        assert set(await one.failed()) == {ids[7]}
        assert await one.effects() == Counter(set(ids) - {ids[7]})
        assert set(await one.history()) == set(ids) - {ids[7]}


async def test_what_was_replayed_is_no_suspect(database: str) -> None:
    """Poison that was cured is given its full number of tries again."""
    async with system(database) as one:
        identifier: UUID = await one.accept()
        await one.pool.execute("UPDATE webhooks.outbox SET deliveries = 900, suspicions = $1", POISON)
        assert await run_worker(one) == 0
        assert set(await one.failed()) == {identifier}
        await one.replay(identifier)
        row = await one.row(identifier)
        assert row is not None
        assert (row["deliveries"], row["suspicions"]) == (0, 0)
        assert await run_worker(one) == 0
        await one.done_once([identifier])


async def test_messages_are_not_to_blame_where_no_connection_is_to_be_had(
    database: str, postgres: PostgresServer
) -> None:
    """A stranger takes the server's last connections; claims go on over those that the worker has."""

    @on("webhook.plain")
    async def plain(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)

    def given_back() -> float:
        return counted("worker_given_back_total", service=CONSUMER, reason="database away")

    before = given_back()
    async with system(database) as one, one.working(registry(plain)):
        ids = [await one.accept()]  # from here on the producer has a connection
        taken = await asyncio.to_thread(postgres.take_free_connections)
        ids += [await one.accept("webhook.plain") for _ in range(5)]
        await poll(lambda: given_back() >= before + 10 * len(ids), within=LONG)
        for session in taken:
            session.close()
        await one.finished()
        assert await one.failed() == {}
        assert await one.effects() == Counter(ids[1:])  # the first had no handler
