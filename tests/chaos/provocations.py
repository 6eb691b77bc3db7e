"""The least that brings a bug to light, and that a healthy system takes without a word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiormq
import asyncpg
from aiormq.abc import AbstractChannel

from libs.common.contracts.topology import EXCHANGE, Lane, queue_name, work_key
from libs.common.outbox.faults import Point
from tests.chaos.history import Run
from tests.chaos.runs import read_runs
from tests.chaos.topics import ALWAYS, LIMITS
from tests.chaos.world import Server, World
from tests.waiting import poll

Wire = tuple[str, Server]  # from a process to a server
Act = Callable[[World], Awaitable[None]]

_MOST_DEATHS = 9  # of one poison message
_PATIENT = {"BROKER_CONFIRM_SECONDS": "10", "BROKER_HEARTBEAT_SECONDS": "60"}
"""A busy test machine is no broken broker: work stays on RabbitMQ's route until the provocation."""
_NO_REPAIR = {"BROKER_LEASE_SECONDS": "600"}
"""What the broker's route forgets, the end of a lease does not bring back in time."""
_QUICK_REPAIR = {"BROKER_LEASE_SECONDS": "2.5"}
_SHORT_LEASE = {"CONSUMER_LEASE_SECONDS": "1"}
_CUT_OFF = {"CONSUMER_LEASE_SECONDS": "0.5", "RABBITMQ_URL": "amqp://127.0.0.1:1"}
"""Workers that cannot reach RabbitMQ look through all of Postgres every half second."""
_MIDWAY_SECONDS = 0.1  # a slow handler takes twice as long
_SLOW_PAUSE_SECONDS = 0.05
_QUEUE = queue_name("worker", Lane.DEFAULT)

HELD = "SELECT count(*) FROM webhooks.outbox WHERE holder LIKE $1"
NO_EFFECTS = "LOCK TABLE worker.chaos_effects IN SHARE MODE"
NOTHING_ACCEPTED = "LOCK TABLE webhooks.messages IN SHARE MODE"
DONE = "SELECT count(*) FROM worker.history WHERE message_id = ANY ($1::text[]::uuid[])"
GIVEN_UP = "SELECT count(*) FROM worker.failed WHERE reason = 'poison'"
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = $1
"""
END_LOCKS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE locktype = 'advisory' AND datname = current_database()
"""
END_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@dataclass(frozen=True, slots=True)
class Death:
    """Where a process kills itself, and how often it gets there alive."""

    point: Point
    times: int = 1  # it dies the n-th time


@dataclass(frozen=True, slots=True)
class Provocation:
    """What is done to a small world while traffic flows, and how the world is set up for it."""

    name: str
    act: Act
    topics: Sequence[str] = ("chaos/plain",)
    shops: int = 5
    rabbitmq: bool = True  # False: all work goes through Postgres
    settings: Mapping[str, str] = field(default_factory=dict)  # of all processes
    own_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of some
    deaths: Mapping[str, Death] = field(default_factory=dict)
    wires: Collection[Wire] = ()  # those with a proxy
    undisturbed: bool = False
    watched: bool = False  # the job API is asked again and again where messages stand


async def _let_flow(world: World) -> None:
    await world.flowing(160)


def _until_dead(name: str, *, back: bool = True) -> Act:
    """The process kills itself; then it comes back, or stays away."""

    async def die(world: World) -> None:
        await poll(lambda: name in world.stack.dead(), within=60)
        if back:
            world.stack.revive()
            await world.flowing(40)

    return die


async def _kill_with_much_in_hand(world: World) -> None:
    """All of it came over RabbitMQ, which may forget the last 32 acknowledgements when their connection ends.

    It does not come back: while it connects, a worker looks through Postgres for whatever RabbitMQ has not brought.
    """

    async def nothing_claimed() -> bool:
        return bool(await world.look.ask(HELD, "worker:%") == 0)

    await poll(nothing_claimed, within=60)
    conn = await asyncpg.connect(world.database)
    async with conn.transaction():
        await conn.execute(NO_EFFECTS)
        world.stack.freeze("worker1")
        await world.flowing(150)
        world.stack.kill("worker0")
    await conn.close()
    world.stack.thaw("worker1")


async def _freeze_with_work_in_hand(world: World) -> None:
    """Until another has done all that the frozen one had; it comes when all is in the frozen one's hand."""
    world.stack.kill("worker1")
    burst = [asyncio.create_task(world.traffic.send("chaos/plain")) for _ in range(150)]
    holder = f"worker:{world.stack.pid('worker0')}-%"
    await world.progressed(20)  # what was claimed together with them is in its hand as well

    async def held() -> bool:
        return (await world.look.ask(HELD, holder) or 0) >= 10

    await poll(held, within=60)
    world.stack.freeze("worker0")
    world.stack.start("worker1")
    ids = list(await asyncio.gather(*burst))

    async def done_by_another() -> bool:
        return (await world.look.ask(DONE, ids) or 0) >= len(ids) - 1  # one may be locked by a frozen handler

    await poll(done_by_another, within=60)
    world.stack.thaw("worker0")
    await world.flowing(40)


async def _freeze_and_take_its_locks(world: World) -> None:
    """While handlers run that have them; it wakes while as many run elsewhere."""
    world.stack.kill("worker1")

    def frozen_midway() -> bool:
        world.stack.freeze("worker0")
        if _midway(world, "worker0", since=0.0):
            return True
        world.stack.thaw("worker0")
        return False

    async with _slow_ones(world):
        await poll(frozen_midway, within=60)
        wire = world.proxies["worker0", "postgres"]
        wire.hold("to_client")  # it is not told
        await world.look.surely(END_LOCKS)
        killed = max((run.began for run in _slow_runs(world, "worker1")), default=0.0)
        world.stack.start("worker1")
        await poll(lambda: len(_midway(world, "worker1", since=killed)) >= LIMITS["slow"], within=60)
        world.stack.thaw("worker0")
        await world.flowing(40)
    wire.cut()
    wire.heal()


@asynccontextmanager
async def _slow_ones(world: World) -> AsyncIterator[None]:
    """More of them than workers can do for one shop, for as long as the block, so that none ever waits for work."""
    sent: list[asyncio.Task[str]] = []

    async def send() -> None:
        while True:
            sent.append(asyncio.create_task(world.traffic.send("chaos/slow")))
            await asyncio.sleep(_SLOW_PAUSE_SECONDS)

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
    await asyncio.gather(*sent)


def _midway(world: World, name: str, *, since: float) -> list[Run]:
    """Slow handlers that this process has begun after a moment and not ended; those of a dead process never end."""
    runs = _slow_runs(world, name)
    return [run for run in runs if run.began > since and run.last - run.began < _MIDWAY_SECONDS]


def _slow_runs(world: World, name: str) -> list[Run]:
    return [run for run in read_runs(world.folder) if run.process.startswith(name) and run.handler == "slow"]


async def _end_sessions_at_work(world: World) -> None:
    """Those of a handler that writes, and of a commit that accepts: each waits for a lock when it is ended."""
    conn = await asyncpg.connect(world.database)
    for _ in range(2):
        async with conn.transaction():
            await conn.execute(NO_EFFECTS)
            await _waiting(world, "shopbus worker handlers")
            await conn.execute(NOTHING_ACCEPTED)
            await _waiting(world, "shopbus webhooks")
            await conn.execute(END_WAITING)
        await world.flowing(20)
    await conn.close()


async def _waiting(world: World, name: str) -> None:
    """Returns once a session of that name waits for a lock."""

    async def waits() -> bool:
        return bool(await world.look.ask(WAITING, name))

    await poll(waits, within=60)


async def _delete_queues(world: World) -> None:
    """While they are full of what RabbitMQ has confirmed."""
    for name in world.stack.workers:
        world.stack.freeze(name)
    async with _channel(world) as channel:
        await _filled(channel, packets=10)
        await channel.queue_delete(_QUEUE)
    for name in world.stack.workers:
        world.stack.thaw(name)


async def _unbind_queue(world: World) -> None:
    async with _channel(world) as channel:
        await channel.queue_unbind(_QUEUE, EXCHANGE, work_key("worker", Lane.DEFAULT))
    await world.flowing(40)


@asynccontextmanager
async def _channel(world: World) -> AsyncIterator[AbstractChannel]:
    """Past every proxy, on the connection of an operator."""
    _, broker = world.stack._urls["worker0"]
    connection = await aiormq.connect(broker)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def _filled(channel: AbstractChannel, *, packets: int) -> None:
    """Returns once so many wait in the queue."""

    async def enough() -> bool:
        declared = await channel.queue_declare(_QUEUE, passive=True)
        return (declared.message_count or 0) >= packets

    await poll(enough, within=60)


async def _hold_publishing(world: World) -> None:
    """RabbitMQ gets nothing of what is published, and the connection looks healthy."""
    world.proxies["webhooks", "rabbitmq"].hold("to_server")
    await world.flowing(40)


async def _poison(world: World) -> None:
    """Workers come back as often as they are killed, until somebody sees why."""
    await world.traffic.send("chaos/poison")

    async def found_out() -> bool:
        world.stack.revive()
        return len(world.stack.killed) >= _MOST_DEATHS or bool(await world.look.ask(GIVEN_UP))

    await poll(found_out, within=60)


PROVOCATIONS = {
    provocation.name: provocation
    for provocation in (
        Provocation(
            "nothing is broken", _let_flow, topics=ALWAYS, shops=1, rabbitmq=False, undisturbed=True,
        ),
        Provocation(
            "worker killed with much in hand", _kill_with_much_in_hand,
            settings=_PATIENT | _NO_REPAIR | {"CONSUMER_LEASE_SECONDS": "600"},
        ),
        Provocation(
            "worker killed before it commits", _until_dead("worker0"),
            settings=_PATIENT | _NO_REPAIR | _SHORT_LEASE,
            deaths={"worker0": Death("handler done, not committed", times=10)},
        ),
        Provocation(
            "worker killed before it announces what it emits", _until_dead("worker0"), topics=("chaos/chain",),
            settings=_PATIENT | _QUICK_REPAIR | _SHORT_LEASE,
            deaths={"worker0": Death("stored, not announced", times=3)},
        ),
        Provocation(
            "worker killed with retries in hand", _until_dead("worker0", back=False), topics=("chaos/again",),
            rabbitmq=False, settings=_SHORT_LEASE, deaths={"worker0": Death("moved due, not started")},
        ),
        Provocation(
            "worker frozen past its leases", _freeze_with_work_in_hand, rabbitmq=False, settings=_SHORT_LEASE,
            own_settings={"worker0": {"CONSUMER_CONCURRENCY": "1"}},
        ),
        Provocation(
            "worker frozen while it loses its locks", _freeze_and_take_its_locks, shops=1, rabbitmq=False,
            settings=_SHORT_LEASE, wires={("worker0", "postgres")},
        ),
        Provocation("sessions ended in the middle of their work", _end_sessions_at_work, rabbitmq=False),
        Provocation(
            "webhooks killed before it stores", _until_dead("webhooks"), settings=_PATIENT,
            deaths={"webhooks": Death("received, not stored", times=30)},
        ),
        Provocation("queues deleted with all in them", _delete_queues, settings=_PATIENT | _QUICK_REPAIR),
        Provocation("queue unbound", _unbind_queue, settings=_PATIENT | _NO_REPAIR),
        Provocation(
            "broker takes in nothing", _hold_publishing,
            settings=_NO_REPAIR | {"BROKER_HEARTBEAT_SECONDS": "60"}, watched=True,
            wires={("webhooks", "rabbitmq")},
        ),
        Provocation("a poison message", _poison, rabbitmq=False, settings=_CUT_OFF),
    )
}  # fmt: skip
