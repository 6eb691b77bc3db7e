"""One run: traffic, harm, healing, drain, and the checker's word on all of it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from tests.chaos import report
from tests.chaos.checker import Violation, violations
from tests.chaos.collect import collect
from tests.chaos.figures import Marks, Row, row
from tests.chaos.process import PLAIN, Build
from tests.chaos.world import World

_DRAIN_SECONDS = 90.0
_TOLD = 8  # violations of one rule, and lines of one log
_LINE = 600


class Fault(Protocol):
    """What a run needs of a fault: of one, or of several that act as one."""

    @property
    def name(self) -> str: ...
    @property
    def broker_only(self) -> bool: ...
    @property
    def build(self) -> Mapping[str, Build]: ...
    async def harm(self, world: World, /) -> None: ...
    async def during(self, world: World, /) -> None: ...
    async def heal(self, world: World, /) -> None: ...


async def run(
    world: World, faults: Sequence[Fault], *, settle: bool = False, drain_within: float = _DRAIN_SECONDS
) -> Row:
    """Harms and heals under traffic, and judges. `Row.check` raises where a promise was broken.

    A world may be used for several runs; each reports only what is new. `settle` waits first until all traffic takes
    RabbitMQ, which the time to switch over is measured from.
    """
    marks, before, killed = Marks(), set(world.traffic.accepted), len(world.stack.killed)
    try:
        async with _sending(world, marks):
            await world.on_route("rabbitmq")
            await world.on_route("postgres")
            if settle:
                await world.settled()
            await _mistreat(world, faults, marks)
            await world.on_route("rabbitmq")
        await _drain(world, marks, drain_within)
    except Exception as error:
        error.add_note(last_words(world))
        raise
    await report.note_servers(world)
    history = await collect(world)
    found = [violation for violation in violations(history) if violation not in world.reported]
    world.reported.update(found)
    accepted = {m: value for m, value in world.traffic.accepted.items() if m not in before}
    name = " + ".join(fault.name for fault in faults)
    return row(
        name, history, accepted, marks, found,
        broker_only=all(fault.broker_only for fault in faults),
        deaths=sum(name != "webhooks" for name in world.stack.killed[killed:]), settled=settle,
        story=_story(world, name, found),
    )  # fmt: skip


@asynccontextmanager
async def _sending(world: World, marks: Marks) -> AsyncIterator[None]:
    """Traffic for as long as the block, and then until every delivery was accepted."""
    sending = asyncio.create_task(world.traffic.run())
    try:
        yield
        world.traffic.finish()
        marks.finished = time.monotonic()
        await sending
    finally:
        sending.cancel()
        [failure] = await asyncio.gather(sending, return_exceptions=True)
        if isinstance(failure, Exception):
            raise failure


async def _mistreat(world: World, faults: Sequence[Fault], marks: Marks) -> None:
    builds: Mapping[str, Build] = {name: build for fault in faults for name, build in fault.build.items()}
    marks.harming = time.monotonic()
    for name, build in builds.items():
        await world.rebuild(name, build)
    async with AsyncExitStack() as healing:
        for fault in faults:
            healing.push_async_callback(fault.heal, world)  # also where harming fails half-way
            await fault.harm(world)
        marks.harmed = time.monotonic()
        for fault in faults:
            await fault.during(world)
    for name in builds:
        await world.rebuild(name, PLAIN)
    marks.healed = time.monotonic()


async def _drain(world: World, marks: Marks, within: float) -> None:
    """Returns when nothing goes on any more, or after a while: the checker tells what is left."""
    with suppress(AssertionError):
        await world.drained(within=within)
        marks.drained = time.monotonic()
    await world.quiet()
    await world.watcher.last_look()


def _story(world: World, name: str, found: Sequence[Violation]) -> str:
    rules: dict[str, list[str]] = defaultdict(list)
    for violation in found:
        rules[violation.rule].append(violation.message)
    lines = [f"{name}: broken promises (seed {world.seed})"]
    for rule, messages in rules.items():
        lines += [f"  {rule}: {len(messages)}", *(f"    {message}" for message in messages[:_TOLD])]
    return "\n".join([*lines, last_words(world)])


def last_words(world: World) -> str:
    """The last lines that each process logged."""
    lines = [f"the last lines of the logs in {world.folder}:"]
    for name in world.stack.names:
        log = world.stack.log(name)
        text = log.read_text(errors="replace").splitlines() if log.exists() else []
        told = [line[:_LINE] for line in text if "on purpose" not in line]
        lines += [f"  {name}", *(f"    {line}" for line in told[-_TOLD:])]
    return "\n".join(lines)
