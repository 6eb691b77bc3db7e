"""Postgres itself is mistreated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import psycopg

from tests.chaos.faults.fault import Fault, Step, Trouble, do, felt, flowing, flowing_long, nothing
from tests.chaos.process import Build
from tests.chaos.world import World
from tests.servers.postgres import PostgresServer

_TURNS = 5
_ALL = ("webhooks", "worker0", "worker1")
_LOCK = "LOCK TABLE webhooks.outbox, worker.outbox IN ACCESS EXCLUSIVE MODE"


def _database(world: World) -> str:
    return world.database.rpartition("/")[2]


def _broken(break_it: Callable[[PostgresServer], object]) -> Trouble:
    @asynccontextmanager
    async def broken(world: World) -> AsyncIterator[None]:
        await do(break_it, world.postgres)
        yield
        await do(world.postgres.heal)

    return broken


def _postgres(name: str, break_it: Callable[[PostgresServer], object], during: Step = flowing) -> Fault:
    return Fault(name, _broken(break_it), touches={"postgres"}, during=during)


def _on_a_full_disk(name: str, break_it: Callable[[PostgresServer], object]) -> Fault:
    broken = _broken(break_it)
    return Fault(name, broken, touches={"postgres"}, during=felt(10), needs_small_disk=True)


def _kill_and_start(server: PostgresServer) -> None:
    server.kill()
    server.start()


def _use_up_wal(server: PostgresServer) -> None:
    server.fill_disk()
    server.use_up_wal()


async def _terminate(world: World) -> None:
    for _ in range(_TURNS):
        await do(world.postgres.terminate_sessions)
        await world.flowing(world.rng.randrange(10, 60))


@asynccontextmanager
async def _no_connections_left(world: World) -> AsyncIterator[None]:
    """A stranger has all of the server's connections, so that none can be opened."""
    taken = await asyncio.to_thread(world.postgres.take_connections)
    yield
    for connection in taken:
        connection.close()


@asynccontextmanager
async def _locked_tables(world: World) -> AsyncIterator[None]:
    """As by a migration that waits: whoever asks for the tables waits with a connection of its pool in hand."""
    with psycopg.connect(world.database) as connection:
        await do(connection.execute, _LOCK)
        yield


@asynccontextmanager
async def _snapshot_held(world: World) -> AsyncIterator[None]:
    """Nothing that is deleted from now on can be vacuumed."""
    with closing(world.postgres.hold_snapshot(_database(world))):
        yield


POSTGRES = (
    _postgres("Postgres restarted", PostgresServer.restart),
    _postgres("Postgres killed", PostgresServer.kill, felt(60)),
    _postgres("Postgres killed and there again", _kill_and_start),
    _postgres("Postgres frozen", PostgresServer.freeze, felt(60)),
    Fault("sessions terminated", nothing, touches={"postgres"}, during=_terminate),
    _on_a_full_disk("disk full", PostgresServer.fill_disk),
    _on_a_full_disk("disk full, no room for WAL", _use_up_wal),
    Fault("no connections left", _no_connections_left, touches={"postgres"}, during=felt(60)),
    Fault(
        "pools exhausted",
        _locked_tables,
        touches={"postgres", *_ALL},
        during=felt(60),
        build={name: Build(settings={"DATABASE_POOL_SIZE": "2"}) for name in _ALL},
    ),
    Fault("a snapshot held open", _snapshot_held, touches={"snapshot"}, during=flowing_long(600)),
)
