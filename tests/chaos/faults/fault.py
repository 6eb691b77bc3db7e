"""What a fault is: something that is broken between two moments, while traffic flows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.chaos.process import Build
from tests.chaos.world import World
from tests.waiting import poll

Trouble = Callable[[World], AbstractAsyncContextManager[None]]
"""Entering it harms, leaving it heals."""

Step = Callable[[World], Awaitable[None]]

_BROKER = {"rabbitmq", "wire to rabbitmq"}


async def flowing(world: World) -> None:
    """Traffic flows on in spite of the fault."""
    await world.flowing()


def flowing_long(number: int) -> Step:
    """Traffic flows for so many messages, which come at 60 a second at most."""

    async def flow(world: World) -> None:
        await world.flowing(number, within=120)

    return flow


def felt(number: int = 20) -> Step:
    """So many deliveries were refused, or had no answer in time."""

    def failures(world: World) -> int:
        return sum(request.outcome != "ok" and not request.forged for request in world.traffic.requests)

    async def feel(world: World) -> None:
        goal = failures(world) + number
        await poll(lambda: failures(world) >= goal, within=60)

    return feel


@asynccontextmanager
async def nothing(_: World) -> AsyncIterator[None]:
    """The fault lies in what processes are built as, or in what happens meanwhile."""
    yield


class Fault:
    """One way to break the world, and to mend it again."""

    def __init__(
        self,
        name: str,
        trouble: Trouble = nothing,
        *,
        touches: Collection[str],
        during: Step = flowing,
        build: Mapping[str, Build] | None = None,
        needs_small_disk: bool = False,
    ) -> None:
        """Faults that touch the same thing are never combined."""
        self.name = name
        self.touches = frozenset(touches)
        self.build = dict(build or {})
        self.needs_small_disk = needs_small_disk
        self._trouble, self._during = trouble, during
        self._under_way: AbstractAsyncContextManager[None] | None = None

    @property
    def broker_only(self) -> bool:
        """Whether RabbitMQ alone is broken."""
        return bool(self.touches) and self.touches <= _BROKER

    async def harm(self, world: World) -> None:
        trouble = self._trouble(world)
        await trouble.__aenter__()
        self._under_way = trouble

    async def during(self, world: World) -> None:
        """What happens before the healing."""
        await self._during(world)

    async def heal(self, world: World) -> None:
        """Ends what `harm` began; without effect where nothing was begun."""
        trouble, self._under_way = self._under_way, None
        if trouble is not None:
            await trouble.__aexit__(None, None, None)


async def do(work: Callable[..., object], *arguments: object) -> None:
    """Runs what blocks, while traffic goes on."""
    await asyncio.to_thread(work, *arguments)
