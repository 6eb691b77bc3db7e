"""Whatever Postgres and RabbitMQ do, events that were answered with 204 are stored, and each of them once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import asyncpg
import pytest

from services.ingest.config import Settings as IngestSettings
from services.worker.app import open_service as open_worker
from services.worker.config import Settings as WorkerSettings
from tests.environment import MakeSettings
from tests.integration.ingest_kit import Ingesting, event, ingesting
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

STORED = "SELECT array_agg(event_id), count(DISTINCT event_id) FROM worker.pixel_events"
WAITING = "SELECT count(*) FROM ingest.outbox"
SENDERS, AT_ONCE = 4, 5


class Shoppers:
    """Browsers that send batches until they are told to stop, repeat what failed, and remember what was answered.

    They hurry while somebody waits for more, and leave the machine to the server that is being started otherwise.
    """

    def __init__(self, door: Ingesting) -> None:
        self.door = door
        self.accepted: set[str] = set()
        self.refused = 0
        self.stopping = False
        self.wanted = 0
        self._numbers = count(1)

    async def shop(self) -> None:
        while not self.stopping:
            batch = [event(id=f"e{next(self._numbers):07}") for _ in range(AT_ONCE)]
            while not await self._sent(batch):
                self.refused += 1
                await asyncio.sleep(0.05)
            self.accepted |= {one["id"] for one in batch}
            if len(self.accepted) >= self.wanted:
                await asyncio.sleep(0.05)

    async def _sent(self, batch: list[dict[str, Any]]) -> bool:
        try:
            answer = await self.door.send(batch)
        except (aiohttp.ClientError, TimeoutError):
            return False
        assert answer.status in {204, 503}, answer.status
        return answer.status == 204

    async def more(self, events: int) -> None:
        """Waits until so many more were accepted."""
        self.wanted = len(self.accepted) + events
        await poll(lambda: len(self.accepted) >= self.wanted, within=60.0)


@asynccontextmanager
async def shopping(
    database: str, broker: str | None, settings: MakeSettings, *, patience: float
) -> AsyncIterator[Shoppers]:
    """Shoppers, ingest and worker; leaving it lets what is under way end. `patience` is for Postgres, in seconds."""
    shared: dict[str, Any] = {
        "database_url": database, "rabbitmq_url": broker, "database_timeout_seconds": patience,
        "shutdown_seconds": 10.0, "broker_lease_seconds": 2.0, "consumer_lease_seconds": 2.0,
        "broker_connect_seconds": 1.0,
    }  # fmt: skip
    few: dict[str, Any] = {
        "ingest_commit_seconds": patience,
        "ingest_address_burst": 10**9,
        "ingest_key_burst": 10**9,
    }
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(ingesting(settings(IngestSettings, **shared, **few)))
        await stack.enter_async_context(open_worker(settings(WorkerSettings, **shared)))
        shoppers = Shoppers(door)
        tasks = [asyncio.create_task(shoppers.shop()) for _ in range(SENDERS)]
        try:
            yield shoppers
        finally:
            shoppers.stopping = True
            await asyncio.gather(*tasks)


async def all_stored_once(database: str, shoppers: Shoppers) -> None:
    connection = await asyncpg.connect(database)
    try:

        async def drained() -> bool:
            return bool(await connection.fetchval(WAITING) == 0)

        await poll(drained, within=60.0)
        [row] = await connection.fetch(STORED)
    finally:
        await connection.close()
    found, distinct = row
    assert shoppers.accepted <= set(found)
    assert len(found) == distinct


FAULTS: dict[str, tuple[str, Callable[[Any], None], Callable[[Any], None]]] = {
    "postgres killed": ("postgres", lambda server: server.kill(), lambda server: server.heal()),
    "postgres frozen": ("postgres", lambda server: server.freeze(), lambda server: server.heal()),
    "sessions terminated": ("postgres", lambda server: server.terminate_sessions(), lambda _: None),
    "rabbitmq killed": ("rabbit", lambda node: node.kill(), lambda node: node.heal()),
    "rabbitmq frozen": ("rabbit", lambda node: node.freeze(), lambda node: node.heal()),
}


@pytest.mark.parametrize(("server", "hurt", "heal"), FAULTS.values(), ids=FAULTS)
async def test_accepted_events_are_stored_once_whatever_happens(
    database: str, broker_url: str, postgres: PostgresServer, rabbit: RabbitNode, settings: MakeSettings,
    server: str, hurt: Callable[[Any], None], heal: Callable[[Any], None],
) -> None:  # fmt: skip
    target = {"postgres": postgres, "rabbit": rabbit}[server]
    patience = 1.0 if server == "postgres" else 10.0  # a busy machine is no reason to refuse anything
    async with shopping(database, broker_url, settings, patience=patience) as shoppers:
        await shoppers.more(50)
        await asyncio.to_thread(hurt, target)
        if server == "rabbit":
            await shoppers.more(50)  # nobody notices
        else:
            await asyncio.sleep(0.5)
        await asyncio.to_thread(heal, target)
        await shoppers.more(50)
        shoppers.stopping = True
        await all_stored_once(database, shoppers)
    assert server == "postgres" or shoppers.refused == 0


async def test_while_postgres_is_away_browsers_are_asked_to_come_again(
    database: str, postgres: PostgresServer, settings: MakeSettings
) -> None:
    quick: dict[str, Any] = {"database_timeout_seconds": 0.5, "ingest_commit_seconds": 0.5}
    async with ingesting(settings(IngestSettings, database_url=database, **quick)) as door:
        assert (await door.send(event(id="before"))).status == 204
        postgres.kill()
        answer = await door.send(event(id="during"))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        postgres.heal()

        async def accepted() -> bool:
            return (await door.send(event(id="during"))).status == 204

        await poll(accepted, within=30.0)
