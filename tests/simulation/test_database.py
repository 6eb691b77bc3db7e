"""What may happen to a connection of the simulated database, on virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from libs.common.db import connection, is_away
from libs.common.errors import DatabaseAway
from tests.simulation.clock import SimClock
from tests.simulation.database import TIMEOUT, Database, Fault, UnknownStatement
from tests.simulation.database_session import DEAD_PEER_SECONDS
from tests.simulation.loop import Process, SimLoop, State

EFFECT = "INSERT INTO worker.effects (note) VALUES ($1)"
_GONE = (asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError, TimeoutError)


@dataclass
class Planned:
    """One fault at one statement."""

    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)

    def before(self, process: str, statement: str) -> Fault:
        return self.faults.pop(("before", statement), None)

    def after(self, process: str, statement: str) -> Fault:
        return self.faults.pop(("after", statement), None)


class Place:
    """A database on a loop of its own."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop, self.planned = loop, Planned()
        self.database = Database(SimClock(loop))
        self.database.latency = lambda: 0.01
        self.database.faults = self.planned
        self.database.register("EFFECT", EFFECT, "worker.effects", ("note",))

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    @property
    def notes(self) -> list[str]:
        return [row["note"] for row in self.database.tables["worker.effects"]]


@pytest.fixture
def place() -> Iterator[Place]:
    loop = SimLoop(seed=1)
    yield Place(loop)
    loop.bury(iter(()))
    assert loop.errors == []


async def write(conn: Any, note: str, pause: float = 0.0) -> None:
    async with conn.transaction():
        await conn.execute(EFFECT, note)
        await asyncio.sleep(pause)


async def write_once(pool: asyncpg.Pool, pause: float = 0.0) -> None:
    async with connection(pool, TIMEOUT) as conn:
        await write(conn, "once", pause)


@pytest.mark.parametrize(
    ("when", "statement", "committed"),
    [("before", "EFFECT", False), ("after", "EFFECT", False), ("before", "COMMIT", False), ("after", "COMMIT", True)],
)  # fmt: skip
@pytest.mark.parametrize("fault", ["lost", "hang"])
def test_only_a_commit_that_arrived_counts(
    place: Place, when: str, statement: str, committed: bool, fault: Fault
) -> None:
    async def scene() -> None:
        pool = place.database.pool("worker")
        place.planned.faults[when, statement] = fault
        with pytest.raises(_GONE) as caught:
            await write_once(pool)
        assert is_away(caught.value)
        assert place.notes == (["once"] if committed else [])
        before = len(place.notes)
        await write_once(pool)
        assert len(place.notes) == before + 1

    place.run(scene())


def test_a_command_that_hangs_meets_its_own_deadline_and_the_server_finds_out_later(place: Place) -> None:
    async def scene() -> None:
        conn = await place.database.connect("worker")
        began = place.loop.time()
        place.planned.faults["after", "EFFECT"] = "hang"
        with pytest.raises(TimeoutError):
            await conn.execute(EFFECT, "unknown")
        assert place.loop.time() - began == pytest.approx(TIMEOUT, abs=0.1)
        assert place.notes == ["unknown"]
        assert len(place.database.sessions) == 1
        await asyncio.sleep(DEAD_PEER_SECONDS)
        assert not place.database.sessions
        assert conn.is_closed()

    place.run(scene())


def test_while_it_is_down_nobody_connects_and_sessions_are_over(place: Place) -> None:
    async def scene() -> None:
        pool, conn = place.database.pool("worker"), await place.database.connect("worker")
        lost = asyncio.Event()
        conn.add_termination_listener(lambda _: lost.set())
        place.database.down = True
        await lost.wait()
        assert conn.is_closed()
        with pytest.raises(DatabaseAway):
            async with connection(pool, TIMEOUT):
                raise AssertionError("it is down")
        place.database.down = False
        async with connection(pool, TIMEOUT) as again:
            await write(again, "back")
        assert place.notes == ["back"]

    place.run(scene())


def test_a_crashed_process_leaves_nothing_uncommitted_and_hears_nothing(place: Place) -> None:
    process = Process("worker")
    heard: list[str] = []

    async def work() -> None:
        try:
            conn = await place.database.connect("worker")
            conn.add_termination_listener(lambda _: heard.append("gone"))
            await conn.execute(EFFECT, "committed")
            async with conn.transaction():
                await conn.execute(EFFECT, "undone")
                await asyncio.sleep(100)
        finally:
            heard.append("unwound")

    place.loop.spawn(process, work())
    place.loop.advance(1)
    place.loop.kill(process)
    place.database.crash_process("worker")
    place.loop.advance(100)
    assert place.notes == ["committed"]
    assert not place.database.sessions
    assert heard == []
    place.loop.bury(iter([process]))


@pytest.mark.parametrize("last_words", [True, False])
def test_what_a_crashed_process_had_sent_may_still_be_done(place: Place, last_words: bool) -> None:
    process = Process("worker")

    async def work() -> None:
        conn = await place.database.connect("worker")
        await conn.execute(EFFECT, "sent")

    place.loop.spawn(process, work())
    place.loop.advance(0.015)  # connected, and the statement is on its way
    place.loop.kill(process)
    place.database.crash_process("worker", last_words=last_words)
    place.loop.advance(1)
    assert place.notes == (["sent"] if last_words else [])
    assert not place.database.sessions
    place.loop.bury(iter([process]))


def test_answers_wait_while_their_process_is_frozen(place: Place) -> None:
    process = Process("worker")
    times: list[float] = []

    async def work() -> None:
        conn = await place.database.connect("worker")
        await conn.execute(EFFECT, "done")
        times.append(place.loop.time())

    place.loop.spawn(process, work())
    place.loop.advance(0.015)
    place.loop.freeze(process)
    assert process.state is State.FROZEN
    place.loop.advance(2)
    assert place.notes == ["done"]
    assert times == []
    place.loop.thaw(process)
    place.loop.advance(0.001)
    assert times == [pytest.approx(2.015, abs=0.01)]


def test_a_transaction_without_a_word_is_ended_by_the_server(place: Place) -> None:
    async def scene() -> None:
        pool = place.database.pool("worker", command_timeout=None, longest_transaction=5.0)
        with pytest.raises(asyncpg.InterfaceError):
            await write_once(pool, pause=6)
        assert place.notes == []

    place.run(scene())


def test_a_full_pool_lets_callers_wait_until_their_deadline(place: Place) -> None:
    async def scene() -> None:
        pool = place.database.pool("worker", size=1)
        async with connection(pool, TIMEOUT):
            with pytest.raises(DatabaseAway):
                async with connection(pool, 0.5):
                    raise AssertionError("there is only one")
        async with connection(pool, TIMEOUT) as conn:
            await write(conn, "free again")

    place.run(scene())


@pytest.mark.parametrize(
    "call", [lambda conn: conn.execute("SELECT 2"), lambda conn: conn.fetch("SELECT * FROM worker.history")]
)
def test_a_statement_it_does_not_know_is_refused(
    place: Place, call: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]
) -> None:
    async def scene() -> None:
        conn = await place.database.connect("worker")
        with pytest.raises(UnknownStatement):
            await call(conn)

    place.run(scene())


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[str]:
        loop = SimLoop(seed)
        place = Place(loop)
        place.database.latency = lambda: loop.rng.random() / 100

        async def several(name: str) -> None:
            pool = place.database.pool(name)
            for number in range(5):
                async with connection(pool, TIMEOUT) as conn:
                    await write(conn, f"{name} {number}")

        async def scene() -> None:
            await asyncio.gather(*(several(name) for name in "abc"))

        place.run(scene())
        loop.bury(iter(()))
        return place.notes

    assert run(1) == run(1)
    assert run(1) != run(2)
