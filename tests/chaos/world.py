"""Everything a fault may lay hands on: servers, processes, proxies between them, and the traffic that flows."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncpg

from tests.chaos.checker import Violation
from tests.chaos.database import Database
from tests.chaos.history import Trouble
from tests.chaos.process import PLAIN, Build
from tests.chaos.proxy import Proxy
from tests.chaos.stack import OPS_TOKEN, SECRET, Stack
from tests.chaos.topics import PROMPT
from tests.chaos.traffic import Traffic
from tests.chaos.watcher import Watcher
from tests.servers.external_broker import clear_topology
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

Server = Literal["rabbitmq", "postgres"]
Route = Literal["rabbitmq", "postgres"]

_REVIVE_SECONDS = 0.1
_QUIET_SECONDS = 0.5
_SAMPLE = 20
_WATCHED = 15  # every so many accepted messages

TABLE = """
CREATE TABLE IF NOT EXISTS worker.chaos_effects (
    message_id text, handler text, root text, at timestamptz DEFAULT clock_timestamp()
)
"""
EFFECTS = "SELECT count(*) FROM worker.chaos_effects"
ENDED_BY_ROUTE = (
    "SELECT count(*) FROM worker.history WHERE route = $1 AND message_id = ANY ($2::text[]::uuid[])"
)
NUMBER_LEFT = """
SELECT (SELECT count(*) FROM webhooks.outbox) + (SELECT count(*) FROM worker.outbox)
     + (SELECT count(*) FROM worker.scheduled)
"""


class World:
    """What is real in a run. Open it with `open_world`."""

    def __init__(
        self,
        folder: Path,
        *,
        postgres: PostgresServer,
        rabbit: RabbitNode,
        database: str,
        stack: Stack,
        proxies: Mapping[tuple[str, Server], Proxy],
        seed: int | str,
    ) -> None:
        self.folder, self.seed, self.rng = folder, seed, random.Random(seed)
        self.postgres, self.rabbit = postgres, rabbit
        self.database = database
        """The URL of the database, past every proxy."""
        self.stack, self.proxies = stack, proxies
        self.traffic = Traffic(stack.url, SECRET, self.rng)
        self.watcher = Watcher([stack.base(name) for name in stack.workers], OPS_TOKEN)
        self.look = Database(database)
        self.reported: set[Violation] = set()  # by the runs so far

    async def flowing(self, number: int = 40, *, within: float = 60) -> None:
        """Waits until so many further deliveries were accepted."""
        goal = len(self.traffic.accepted) + number
        await poll(lambda: len(self.traffic.accepted) >= goal, within=within)

    async def progressed(self, number: int = 40, *, within: float = 60) -> None:
        """Waits until so many further effects were committed."""
        goal = await self.look.surely(EFFECTS, within=within) + number

        async def reached() -> bool:
            return bool((await self.look.ask(EFFECTS) or 0) >= goal)

        await poll(reached, within=within)

    async def on_route(self, route: Route, *, within: float = 120) -> None:
        """Waits until a message that was accepted after now ended by that route.

        For RabbitMQ only prompt topics count: what has to wait for a place, or fails once, goes through Postgres.
        A quorum queue that a kill left without a leader is made anew after 20 s, so this may take a while.
        """
        first = len(self.traffic.accepted)

        async def ended() -> bool:
            accepted = list(self.traffic.accepted.values())[first:]
            ids = [a.message_id for a in accepted if a.topic in PROMPT or route == "postgres"]
            return bool(await self.look.ask(ENDED_BY_ROUTE, route, ids))

        await poll(ended, within=within)

    async def settled(self, *, within: float = 120) -> None:
        """Waits until all new work takes RabbitMQ: after an outage only a growing share of it does, for a while."""

        async def all_by_rabbitmq() -> bool:
            plain = [m for m, accepted in self.traffic.accepted.items() if accepted.topic in PROMPT]
            some = plain[-2 * _SAMPLE : -_SAMPLE]
            by_rabbitmq = await self.look.ask(ENDED_BY_ROUTE, "rabbitmq", some)
            return bool(by_rabbitmq == _SAMPLE)

        await poll(all_by_rabbitmq, within=within)

    async def drained(self, *, within: float = 90) -> None:
        """Waits until no work is left, that which waits for its time included."""

        async def nothing_left() -> bool:
            return bool(await self.look.ask(NUMBER_LEFT) == 0)

        await poll(nothing_left, within=within)

    async def quiet(self) -> None:
        """Waits until handlers have written nothing for a while: a copy that comes late may still have its effect."""
        size, since = -1, time.monotonic()

        def still() -> bool:
            nonlocal size, since
            now = sum(file.stat().st_size for file in self.folder.glob("*.runs"))
            if now != size:
                size, since = now, time.monotonic()
            return time.monotonic() - since > _QUIET_SECONDS

        await poll(still, within=60)

    async def rebuild(self, name: str, build: Build = PLAIN) -> None:
        """Stops a process in order and starts it as another build."""
        self.stack.build[name] = build
        if self.stack.alive(name):
            code = await asyncio.to_thread(self.stack.stop, name)
            if code not in (0, -signal.SIGKILL, -signal.SIGTERM):  # SIGTERM: it had just begun to start
                self.stack.troubles.append(Trouble(name, f"did not stop in order: code {code}"))
        self.stack.start(name)

    async def supervise(self) -> None:
        """Starts processes again that ended by themselves, as an orchestrator does."""
        while True:
            self.stack.revive()
            await asyncio.sleep(_REVIVE_SECONDS)

    async def watch(self) -> None:
        """Has the watcher ask for some of the messages."""
        seen = 0
        while True:
            accepted = list(self.traffic.accepted)
            for message_id in accepted[seen::_WATCHED]:
                self.watcher.watch(message_id)
            seen += len(range(seen, len(accepted), _WATCHED)) * _WATCHED
            await asyncio.sleep(_REVIVE_SECONDS)


@asynccontextmanager
async def open_world(
    folder: Path,
    *,
    postgres: PostgresServer,
    rabbit: RabbitNode,
    database: str,
    seed: int | str,
    workers: int = 2,
    build: Mapping[str, Build] | None = None,
) -> AsyncIterator[World]:
    """Starts all processes, each behind two proxies of its own; nothing of it is left afterwards."""
    names = ("webhooks", *(f"worker{number}" for number in range(workers)))
    await clear_topology(rabbit.url)  # queues of the world before
    async with AsyncExitStack() as resources:
        proxies: dict[tuple[str, Server], Proxy] = {}
        for name in names:
            proxies[name, "postgres"] = resources.enter_context(Proxy(postgres.port))
            proxies[name, "rabbitmq"] = resources.enter_context(Proxy(rabbit.port))
        urls = {name: _urls(name, database, rabbit.url, proxies) for name in names}
        stack = Stack(folder, urls, build)
        world = World(
            folder,
            postgres=postgres,
            rabbit=rabbit,
            database=database,
            stack=stack,
            proxies=proxies,
            seed=seed,
        )
        await resources.enter_async_context(world.look)
        await _make_table(database)
        resources.enter_context(stack)
        await resources.enter_async_context(world.watcher)
        await resources.enter_async_context(_always(world))
        yield world


async def _make_table(database: str) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute(TABLE)
    await conn.close()


@asynccontextmanager
async def _always(world: World) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in (world.supervise(), world.watch())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


def _urls(
    name: str, database: str, broker: str, proxies: Mapping[tuple[str, Server], Proxy]
) -> tuple[str, str]:
    """The servers as this process sees them: through its own proxies."""
    seen = []
    for url, server in ((database, "postgres"), (broker, "rabbitmq")):
        host, _, rest = url.rpartition("@")
        seen.append(f"{host}@127.0.0.1:{proxies[name, server].port}/{rest.partition('/')[2]}")  # type: ignore[index]
    return seen[0], seen[1]
