"""Shoppers whose events have known ids, the services between them and the rows, and what has to be true in the end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import asyncpg
import orjson

from libs.common.outbox.faults import Point
from services.sandbox.visits import Shopper, goods
from tests.chaos.database import Database
from tests.chaos.process import Build, dying_at
from tests.chaos.stack import Stack
from tests.integration.ingest_kit import add_key
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

SHOP = "sandbox-001.myshopify.com"
NAMES = ("ingest", "worker0", "worker1")
SHOPPERS, LARGEST_BATCH, PAUSE_SECONDS = 6, 12, 0.02
PATIENCE_SECONDS = (
    180.0  # some points lie on RabbitMQ's route, which is gone back to gradually after an outage
)
GIVES_UP = 0.3  # share of failed requests that are not sent again
SETTINGS = {
    "INGEST_COMMIT_SECONDS": "1", "INGEST_ADDRESS_PER_SECOND": "1000000", "INGEST_ADDRESS_BURST": "1000000",
    "INGEST_KEY_PER_SECOND": "1000000", "INGEST_KEY_BURST": "1000000", "DATABASE_TIMEOUT_SECONDS": "1",
    "BROKER_LEASE_SECONDS": "4", "CONSUMER_LEASE_SECONDS": "3",
}  # fmt: skip
ROWS = "SELECT event_id, name, client_id, seq, content::text FROM worker.pixel_events"
STORED = "SELECT count(*) FROM worker.pixel_events"
LEFT = "SELECT (SELECT count(*) FROM ingest.outbox) + (SELECT count(*) FROM worker.scheduled)"
FAILED = "SELECT count(*) FROM worker.failed"

Json = dict[str, Any]


@dataclass(slots=True)
class Crowd:
    """Browsers that send batches, repeat most of those that failed, and remember what was answered."""

    url: str
    key: str
    draw: Random
    accepted: dict[str, Json] = field(default_factory=dict)
    unknown: dict[str, Json] = field(default_factory=dict)  # sent, and never answered with 204
    refused: int = 0
    strange: Counter[int] = field(default_factory=Counter)  # answers that no fault of ours explains
    shopping: int = 0
    stopping: bool = False

    async def run(self) -> None:
        shelf = goods(SHOP, 1, datetime.now(UTC))
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
            for _ in range(SHOPPERS):
                group.create_task(self._shop(http, Shopper(SHOP, shelf, Random(self.draw.random()))))

    async def _shop(self, http: aiohttp.ClientSession, shopper: Shopper) -> None:
        self.shopping += 1
        while not self.stopping:
            events = shopper.events(self.draw.randint(1, LARGEST_BATCH), datetime.now(UTC))
            by_id = {event["id"]: event for event in events}
            (self.accepted if await self._told(http, events) else self.unknown).update(by_id)
            await asyncio.sleep(PAUSE_SECONDS)  # nobody clicks quicker
        self.shopping -= 1

    async def _told(self, http: aiohttp.ClientSession, events: Sequence[Json]) -> bool:
        body = orjson.dumps({"key": self.key, "version": "chaos", "events": events})
        while not await self._taken(http, body):
            self.refused += 1
            if self.draw.random() < GIVES_UP:
                return False
            await asyncio.sleep(PAUSE_SECONDS)
        return True

    async def _taken(self, http: aiohttp.ClientSession, body: bytes) -> bool:
        try:
            async with http.post(f"{self.url}/ingest/v1/events", data=body) as answer:
                if answer.status not in {204, 503}:
                    self.strange[answer.status] += 1
                return answer.status == 204
        except (aiohttp.ClientError, TimeoutError):
            return False


@dataclass(slots=True)
class PixelWorld:
    """What a fault may lay hands on, while shoppers shop."""

    stack: Stack
    crowd: Crowd
    look: Database
    postgres: PostgresServer
    rabbit: RabbitNode
    draw: Random

    async def flowing(self, events: int = 100) -> None:
        """Waits until so many further events were accepted."""
        goal = len(self.crowd.accepted) + events
        await poll(lambda: len(self.crowd.accepted) >= goal, within=60)

    async def felt(self, requests: int = 5) -> None:
        """Waits until so many further requests had no 204."""
        goal = self.crowd.refused + requests
        await poll(lambda: self.crowd.refused >= goal, within=60)

    async def storing(self, events: int = 100) -> None:
        """Waits until so many further events are rows."""
        goal = await self.look.surely(STORED) + events

        async def stored() -> bool:
            return bool((await self.look.ask(STORED) or 0) >= goal)

        await poll(stored, within=60)

    async def dies_at(self, name: str, point: Point, times: int = 3) -> None:
        """Starts a process anew that kills itself when it comes to a point, and then as it was."""
        usual = self.stack.build[name]
        before = self._deaths(name, point)
        self.stack.kill(name)
        self.stack.build[name] = Build(kill_at=point, kill_after=times, settings=usual.settings)
        self.stack.start(name)
        self.stack.build[name] = usual
        await poll(lambda: self._deaths(name, point) > before, within=PATIENCE_SECONDS)

    def _deaths(self, name: str, point: Point) -> int:
        return self.stack.log(name).read_text(errors="replace").count(dying_at(point))

    async def settle(self) -> None:
        """Ends the shopping, and waits until no request and no frame is on its way."""
        self.crowd.stopping = True
        await poll(lambda: self.crowd.shopping == 0, within=60)

        async def nothing_left() -> bool:
            return bool(await self.look.ask(LEFT) == 0)

        await poll(nothing_left, within=60)

    async def revive(self) -> None:
        """Starts processes again that ended, as an orchestrator does."""
        while True:
            self.stack.revive()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def pixel_world(
    folder: Path, database: str, postgres: PostgresServer, rabbit: RabbitNode, broker: str, seed: str
) -> AsyncIterator[PixelWorld]:
    """Ingest and two workers as processes, and a crowd that shops until the block is left."""
    owner = await asyncpg.connect(database)
    key = await add_key(owner, SHOP)
    await owner.close()
    build = {name: Build(settings=SETTINGS) for name in NAMES}
    stack = Stack(folder, dict.fromkeys(NAMES, (database, broker)), build)
    async with AsyncExitStack() as resources:
        look = await resources.enter_async_context(Database(database))
        resources.enter_context(stack)
        crowd = Crowd(stack.base("ingest"), key, Random(seed))
        world = PixelWorld(stack, crowd, look, postgres, rabbit, Random(f"{seed} faults"))
        async with asyncio.TaskGroup() as group:
            supervisor = group.create_task(world.revive())
            group.create_task(crowd.run())
            try:
                await world.storing()
                yield world
            finally:
                crowd.stopping = True
                supervisor.cancel()


async def judge(world: PixelWorld, database: str) -> None:
    """What was accepted is there once and as it was sent; what had no answer is there once or not; nothing else is."""
    conn = await asyncpg.connect(database)
    rows = await conn.fetch(ROWS)
    failed = await conn.fetchval(FAILED)
    await conn.close()
    crowd, times = world.crowd, Counter(row["event_id"] for row in rows)
    sent = crowd.accepted | crowd.unknown
    assert not crowd.strange, crowd.strange
    assert crowd.accepted.keys() - times.keys() == set(), "accepted, and not stored"
    assert [identifier for identifier, count in times.items() if count > 1] == [], "stored twice"
    assert times.keys() - sent.keys() == set(), "stored, and never sent"
    assert [row["event_id"] for row in rows if not _as_sent(row, sent[row["event_id"]])] == [], (
        "not as it was sent"
    )
    assert failed == 0
    assert world.stack.troubles == []


def _as_sent(row: asyncpg.Record, event: Json) -> bool:
    """A checkout's own address is taken out, and so are half its title's words: there only the columns tell."""
    columns = (row["name"], row["client_id"], row["seq"]) == (event["name"], event["clientId"], event["seq"])
    content = {"context": event["context"], "data": event["data"]}
    return columns and (b"<" in orjson.dumps(content) or orjson.loads(row["content"]) == content)
