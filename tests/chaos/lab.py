"""Small worlds, several of them side by side on the same servers: each has a database and a vhost of its own."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.chaos.bugs.bug import Bug
from tests.chaos.checker import Violation, violations
from tests.chaos.collect import collect
from tests.chaos.nursery import ForkedStack
from tests.chaos.process import Build
from tests.chaos.provocations import Provocation
from tests.chaos.proxy import Proxy
from tests.chaos.run import last_words
from tests.chaos.stack import SECRET, Stack
from tests.chaos.traffic import Traffic
from tests.chaos.world import TABLE, World
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

_NAMES = ("webhooks", "worker0", "worker1")
_PER_SECOND = 80.0
_DRAIN_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found, and what to tell people beside it."""

    found: Sequence[Violation]
    story: str

    @property
    def rules(self) -> set[str]:
        return {violation.rule for violation in self.found}


@dataclass(slots=True)
class Lab:
    """The servers, and where worlds are built."""

    postgres: PostgresServer
    rabbit: RabbitNode
    template: str
    folder: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one vhost or database is made at a time

    async def play(self, provocation: Provocation, bug: Bug | None = None) -> Verdict:
        """Provokes processes that have the bug, or healthy ones, and judges what came of it."""
        async with self._world(provocation, bug) as world:
            try:
                await _play(world, provocation, bug.drain_seconds if bug else _DRAIN_SECONDS)
            except Exception as error:
                error.add_note(last_words(world))
                raise
            history = replace(await collect(world), undisturbed=provocation.undisturbed)
            found = violations(history)
            lines = [f"{violation.rule}: {violation.message}" for violation in found[:20]]
            return Verdict(found, "\n".join([*lines, last_words(world)]))

    @asynccontextmanager
    async def _world(self, provocation: Provocation, bug: Bug | None) -> AsyncIterator[World]:
        number = next(self.numbers)
        folder = self.folder / str(number)
        folder.mkdir()
        async with AsyncExitStack() as resources:
            database = await self._database(resources, f"lab_{number}", bug.schema if bug else "")
            broker = await self._vhost(resources) if provocation.rabbitmq else ""
            ports = {"postgres": self.postgres.port, "rabbitmq": self.rabbit.port}
            proxies = {wire: resources.enter_context(Proxy(ports[wire[1]])) for wire in provocation.wires}
            urls = dict.fromkeys(_NAMES, (database, broker))
            for (name, server), proxy in proxies.items():
                urls[name] = _through(proxy, ports[server], urls[name])
            stack = ForkedStack(folder, urls, _builds(provocation, bug))
            world = World(
                folder, postgres=self.postgres, rabbit=self.rabbit, database=database, stack=stack, proxies=proxies,
                seed=number,
            )  # fmt: skip
            world.traffic = Traffic(
                stack.url, SECRET, random.Random(number), per_second=_PER_SECOND, topics=provocation.topics,
                shops=provocation.shops,
            )  # fmt: skip
            await resources.enter_async_context(world.look)
            resources.enter_context(stack)
            await resources.enter_async_context(world.watcher)
            if provocation.watched:
                await resources.enter_async_context(_beside(world.watch()))
            yield world

    async def _database(self, resources: AsyncExitStack, name: str, schema: str) -> str:
        async with self.turn:
            await asyncio.to_thread(self.postgres.create_database, name, self.template)
        resources.push_async_callback(asyncio.to_thread, self.postgres.drop_database, name)
        conn = await asyncpg.connect(self.postgres.url(name))
        await conn.execute(f"{TABLE}; {schema}")
        await conn.close()
        return self.postgres.url(name)

    async def _vhost(self, resources: AsyncExitStack) -> str:
        async with self.turn:
            vhost = await asyncio.to_thread(self.rabbit.take_vhost)
        resources.callback(self.rabbit.give_back_vhost, vhost)
        return self.rabbit.vhost_url(vhost)


async def _play(world: World, provocation: Provocation, drain_seconds: float) -> None:
    async with _beside(world.traffic.run()) as sending:
        await _prepare(world, provocation)
        await provocation.act(world)
        world.traffic.finish()
        await sending
    with suppress(AssertionError):  # the checker tells what is left
        await world.drained(within=drain_seconds)
    await world.quiet()
    await world.watcher.last_look()


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Goes on as long as the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _prepare(world: World, provocation: Provocation) -> None:
    """Waits until all goes its usual way, and then has those start anew that are to die somewhere."""
    for name in world.stack.names if provocation.rabbitmq else ():
        await poll(partial(_uses_rabbitmq, world.stack, name), within=60)
    await world.flowing(20)
    for name, death in provocation.deaths.items():
        build = world.stack.build[name]
        await world.rebuild(name, replace(build, kill_at=death.point, kill_after=death.times))
        world.stack.build[name] = build  # if it comes back, then without that


async def _uses_rabbitmq(stack: Stack, name: str) -> bool:
    """Whether a process publishes all it has to RabbitMQ, and consumes from it if it is a worker."""
    service = name.rstrip("01")
    wanted = {f'outbox_broker_share{{service="{service}"}} 1.0'}
    if service == "worker":
        wanted.add('broker_connected{link="consume",service="worker"} 1.0')
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{stack.base(name)}/metrics") as answer:
            return wanted <= set((await answer.text()).splitlines())
    except aiohttp.ClientConnectorError:
        return False  # it has just begun to start


def _through(proxy: Proxy, port: int, urls: tuple[str, str]) -> tuple[str, str]:
    """The same, but for the server at this port, which is reached through the proxy."""
    database, broker = (url.replace(f":{port}/", f":{proxy.port}/") for url in urls)
    return database, broker


def _builds(provocation: Provocation, bug: Bug | None) -> Mapping[str, Build]:
    """Each process with its bug, if it has it, and the provocation's settings."""
    builds = {}
    for name in _NAMES:
        has_it = bug is not None and name.rstrip("01") in bug.services
        settings = {**provocation.settings, **provocation.own_settings.get(name, {})}
        builds[name] = Build(bug=bug.name if bug and has_it else None, settings=settings)
    return builds
