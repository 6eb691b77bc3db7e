"""Backfills against a sandbox store, a real auth, and workers: in this process, or processes that can be killed."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from aiohttp import ClientSession

from libs.common.contracts.envelope import Draft
from libs.common.outbox.open import open_producer
from services.sandbox.setup import Setup
from services.worker.app import open_service
from services.worker.backfill_steps import Pace
from services.worker.config import Settings
from tests.integration.auth_kit import OPS, SERVICE_KEY, Running, running
from tests.integration.backfill_worker import HURRY
from tests.integration.mortal import child
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.servers.ports import free_port
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, SECRET, SHOP
from tests.waiting import poll

SCOPES = "read_orders,read_products,read_customers"
KEYS: dict[str, Any] = {"shopify_api_key": CLIENT_ID, "shopify_api_secret": SECRET}
LONG_AGO = "2020-01-01T00:00:00Z"

ENDED = "SELECT type, outcome FROM worker.history WHERE type LIKE 'backfill.%'"
MESSAGES = "SELECT subject, count(*) AS times FROM worker.messages WHERE type = $1 GROUP BY subject"
EFFECTS = "SELECT count(*) FROM worker.history WHERE type = $1 AND outcome = 'completed'"


@dataclass
class WorkerProcess:
    """One worker, and how much memory it has needed at most."""

    process: asyncio.subprocess.Process
    client: ClientSession

    async def answers(self) -> bool:
        """Whether it works."""
        try:
            async with self.client.get("/readyz") as answer:
                return answer.status == 200
        except OSError:
            return False

    def peak(self) -> int:
        """Bytes of memory at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    async def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        await self.process.wait()


@dataclass
class Shop:
    """A store with the app on it, the database, and where auth is."""

    stores: Sandbox
    auth: Running
    token: str
    pool: asyncpg.Pool
    environment: dict[str, str]
    folder: Path
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def worker(self, *, dies_at: str | None = None, **changes: str) -> WorkerProcess:
        """Starts a worker process, which lives no longer than the shop; returns when it works."""
        port = str(free_port())
        env = {**self.environment, **changes, "PORT": port}
        log = self.folder / f"worker-{port}.log"
        process = await self._stack.enter_async_context(
            child("tests.integration.backfill_worker", env, log, dies_at=dies_at or "")
        )
        headers = {"Authorization": f"Bearer {OPS}"}
        client = ClientSession(f"http://127.0.0.1:{port}", headers=headers)
        one = WorkerProcess(process, await self._stack.enter_async_context(client))
        await poll(one.answers, within=60)
        return one

    async def local(self, pace: Pace = HURRY, **changes: str) -> ClientSession:
        """A worker in this process, which lives as long as the shop."""
        told = {name.lower(): value for name, value in {**self.environment, **changes}.items()}
        settings = Settings.load(**told)
        service = await self._stack.enter_async_context(open_service(settings, pace=pace))
        client = await self._stack.enter_async_context(serving([service], settings))
        client.headers["Authorization"] = f"Bearer {OPS}"
        return client

    async def tell(self, schema: str, kind: str, facts: object = None) -> None:
        """A message of another service's about the shop."""
        settings = Settings.load(**{name.lower(): value for name, value in self.environment.items()})
        async with open_producer(settings, schema=schema, pool=self.pool) as producer:
            await producer.accept(Draft(kind, orjson.dumps(facts), shop=SHOP))

    async def row(self, identifier: str) -> asyncpg.Record:
        """A job's row."""
        found = await self.pool.fetchrow("SELECT * FROM worker.backfills WHERE id = $1", identifier)
        assert found is not None
        return found

    async def reached(
        self, identifier: str, reached: Callable[[asyncpg.Record], bool], *, within: float = 60
    ) -> asyncpg.Record:
        """A job's row once it is so."""
        found: list[asyncpg.Record] = []

        async def is_so() -> bool:
            found[:] = [await self.row(identifier)]
            return reached(found[0])

        await poll(is_so, within=within)
        return found[0]

    async def accepted(self, identifier: str, number: int, *, within: float = 60) -> None:
        """Returns once so many objects have become messages."""
        await self.reached(identifier, lambda row: bool(row["accepted"] >= number), within=within)

    async def over(self, identifier: str, *, within: float = 60) -> asyncpg.Record:
        """A job's row once it has ended."""
        return await self.reached(identifier, lambda row: row["ended_at"] is not None, within=within)

    async def times_accepted(self, resource: str = "orders") -> list[int]:
        """How many messages each object became."""
        return [row["times"] for row in await self.pool.fetch(MESSAGES, f"backfill.{resource}")]

    async def effects(self, resource: str = "orders") -> int:
        """How many messages have been worked on."""
        number: int = await self.pool.fetchval(EFFECTS, f"backfill.{resource}")
        return number

    async def worked_on(self, number: int, resource: str = "orders") -> bool:
        """Whether so many messages have been worked on."""
        return await self.effects(resource) >= number

    async def operations(self) -> list[dict[str, Any]]:
        """The shop's bulk operations, as Shopify lists them."""
        asked = "{ bulkOperations(first: 50) { nodes { id status query } } }"
        listed = await self.stores.graphql(self.token, asked)
        found: list[dict[str, Any]] = listed["data"]["bulkOperations"]["nodes"]
        return found


async def begin(worker: ClientSession, resource: str = "orders", *, shop: str = SHOP) -> str:
    """The id of a backfill that has begun."""
    body = {"shop": shop, "resource": resource, "since": LONG_AGO}
    async with worker.post("/api/backfills", json=body) as answer:
        assert answer.status == 202, await answer.text()
        identifier: str = (await answer.json())["id"]
        return identifier


@asynccontextmanager
async def shop(database: str, folder: Path, setup: Setup | None = None) -> AsyncIterator[Shop]:
    """A store that has the app, and auth; workers come when the test asks for them."""
    folder.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(sandbox(folder, setup=setup))
        address = stores.settings.store_url
        auth = await stack.enter_async_context(running(database, sandbox_store_url=address, **KEYS))
        token = (await stores.installed(SCOPES)).access_token
        assert (await auth.exchange(token=await stores.session_token()))[0] == 200
        environment = {
            "DATABASE_URL": database, "SHUTDOWN_SECONDS": "2",
            "SHOPIFY_API_KEY": CLIENT_ID, "SHOPIFY_API_SECRET": SECRET, "SERVICE_KEY": SERVICE_KEY,
            "OPS_TOKEN": OPS, "SANDBOX_STORE_URL": address, "AUTH_URL": str(auth.client._base_url),
        }  # fmt: skip
        pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=4))
        one = Shop(stores, auth, token, pool, environment, folder)
        await stack.enter_async_context(one._stack)
        yield one
