"""A process dies between two steps of the protocol."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from libs.common.outbox.faults import Point
from tests.chaos.faults.fault import Fault, do, flowing
from tests.chaos.process import Build, dying_at
from tests.chaos.world import World
from tests.waiting import poll

_NO_BROKER = {"RABBITMQ_URL": ""}
_TRIES = 12

Provoke = Callable[[World, str], Awaitable[None]]
"""Brings a process to its point; it may take several tries."""


async def _swallow_publishes(world: World, process: str) -> None:
    proxy = world.proxies[process, "rabbitmq"]
    proxy.blackhole()
    await world.flowing(90)
    proxy.heal()


async def _lose_postgres(world: World, _: str) -> None:
    await do(world.postgres.terminate_sessions)


async def _have_work_brought_again(world: World, _: str) -> None:
    """Handlers hang with messages that RabbitMQ still waits for when the connections go."""
    await _send_hanging(world, _)
    await world.flowing(10)
    for name in world.stack.workers:
        world.proxies[name, "rabbitmq"].cut()


async def _send_hanging(world: World, _: str) -> None:
    await asyncio.gather(*(world.traffic.send("chaos/hangs") for _ in range(4)))


async def _send_poison(world: World, _: str) -> None:
    await world.traffic.send("chaos/poison")


async def _nothing_more(_: World, __: str) -> None:
    """Traffic alone brings the process there."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How a process gets to a point."""

    provoke: Provoke = _nothing_more
    patience: float = 10.0  # seconds for one try
    after: int = 5  # the process dies when it gets there for the n-th time
    settings: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Build] = field(default_factory=dict)
    touches: frozenset[str] = frozenset()


_BY_TRAFFIC = _Way()
_BY_A_LOST_BROKER = _Way(_swallow_publishes, after=1, touches=frozenset({"wire to rabbitmq"}))
_BY_A_LOST_BROKER_OF_ITS_OWN = _Way(  # and work of its own to publish, since all of it comes from Postgres
    _swallow_publishes,
    after=1,
    touches=frozenset({"wire to rabbitmq"}),
    others={"webhooks": Build(settings=_NO_BROKER)},
)
_BY_A_LOST_POSTGRES = _Way(_lose_postgres, after=1, touches=frozenset({"postgres"}))
_BY_REDELIVERY = _Way(_have_work_brought_again, after=1, touches=frozenset({"wire to rabbitmq"}))
_BY_POISON = _Way(
    _send_poison,
    patience=100.0,
    after=1,
    settings={"CONSUMER_LEASE_SECONDS": "2"},
    others={"worker1": Build(settings={"CONSUMER_LEASE_SECONDS": "2"})},
)
_BY_A_LONG_RUN = _Way(
    _send_hanging,
    after=1,
    settings=_NO_BROKER | {"CONSUMER_LEASE_SECONDS": "1.5"},
    others={"webhooks": Build(settings=_NO_BROKER)},
)

WEBHOOKS: Mapping[Point, _Way] = {
    "received, not stored": _BY_TRAFFIC,
    "stored, not announced": _BY_TRAFFIC,
    "stored, not answered": _BY_TRAFFIC,
    "committed, not published": _BY_TRAFFIC,
    "confirmed, not noted": _BY_TRAFFIC,
    "lost, not freed": _BY_A_LOST_BROKER,
    "freed, not announced": _BY_A_LOST_BROKER,
}

WORKER: Mapping[Point, _Way] = {
    "stored, not announced": _BY_TRAFFIC,
    "committed, not published": _BY_TRAFFIC,
    "confirmed, not noted": _BY_TRAFFIC,
    "lost, not freed": _BY_A_LOST_BROKER_OF_ITS_OWN,
    "freed, not announced": _BY_A_LOST_BROKER_OF_ITS_OWN,
    "redelivered, not taken over": _BY_REDELIVERY,
    "taken over, not started": _BY_REDELIVERY,
    "moved due, not started": _BY_TRAFFIC,
    "claimed, not started": _BY_TRAFFIC,
    "lease ending, not renewed": _BY_A_LONG_RUN,
    "suspicion noted, not started": _BY_POISON,
    "slot taken, not started": _BY_TRAFFIC,
    "handler done, not committed": _BY_TRAFFIC,
    "judged, not scheduled": _BY_TRAFFIC,
    "scheduled, not acknowledged": _BY_TRAFFIC,
    "judged, not given up": _BY_TRAFFIC,
    "given up, not acknowledged": _BY_TRAFFIC,
    "committed, not acknowledged": _BY_TRAFFIC,
    "owed, not given back": _BY_A_LOST_POSTGRES,
    "given back, not announced": _BY_A_LOST_POSTGRES,
}

_PRIVACY = "nobody is erased in a chaos run; tests/integration/test_fault_points_privacy.py"
_BACKFILL = "no shop is backfilled in a chaos run; tests/integration/test_fault_points_backfill.py"
_AUTH = "auth serves no deliveries; tests/integration/test_fault_points_auth.py"
ELSEWHERE: Mapping[Point, str] = {
    "claimed, not relayed": "no other program listens in a chaos run; tests/integration/test_fault_points.py",
    "relayed, not ended": "no other program listens in a chaos run; tests/integration/test_fault_points.py",
    "replayed, not answered": "a replay has a second effect on purpose; tests/integration/test_fault_points.py",
    "some cancelled, not all": "no shop leaves in a chaos run; tests/integration/test_fault_points_sweep.py",
    "some fed, not all": "no shop is reconciled in a chaos run; tests/integration/test_fault_points_reconcile.py",
    "bulk operation begun, not kept": _BACKFILL,
    "pack stored, not committed": _BACKFILL,
    "pack committed, not announced": _BACKFILL,
    "rows erased, not committed": _PRIVACY,
    "rows erased, not answered": _PRIVACY,
    "install state taken, code not sent": _AUTH,
    "token answered, not kept": _AUTH,
    "token kept, not committed": _AUTH,
    "token committed, not announced": _AUTH,
    "sealed anew, not committed": _AUTH,
}
"""Points that no process of a chaos run gets to, and where they are tested."""


def _fault(process: str, point: Point, way: _Way) -> Fault:
    async def die(world: World) -> None:
        await _until_dead(world, process, point, way)
        await world.rebuild(process)  # what is in hand at one death after another is rightly taken for poison
        await flowing(world)

    build = {process: Build(kill_at=point, kill_after=way.after, settings=way.settings), **way.others}
    title = f"{process.rstrip('0')} dies: {point}"
    return Fault(title, touches={*build, *way.touches}, during=die, build=build)


async def _until_dead(world: World, process: str, point: Point, way: _Way) -> None:
    before = _deaths(world, process, point)
    for _ in range(_TRIES):
        await way.provoke(world, process)
        with suppress(AssertionError):
            await poll(lambda: _deaths(world, process, point) > before, within=way.patience)
            return
    raise AssertionError(f"{process} never came to the point: {point}")


def _deaths(world: World, process: str, point: Point) -> int:
    return world.stack.log(process).read_text(errors="replace").count(dying_at(point))


STEPS = (
    *(_fault("webhooks", point, way) for point, way in WEBHOOKS.items()),
    *(_fault("worker0", point, way) for point, way in WORKER.items()),
)
