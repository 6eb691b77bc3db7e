"""The model beside a real Postgres: every step is made on both, and everything that comes back is compared."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
from asyncpg.transaction import Transaction

from libs.common.db import HonestConnection
from libs.common.outbox.wakes import channel
from tests.simulation.conformance_statements import CONSUMER, EFFECT, EFFECTS, Call
from tests.simulation.conformance_tables import TABLES, empty, model_rows, real_rows
from tests.simulation.database import Database
from tests.simulation.database_client import PooledConnection, connect
from tests.simulation.database_session import Session
from tests.waiting import poll

SESSIONS = 3

Outcome: TypeAlias = tuple[str, object]
"""What a statement gave, or the name of the error it raised."""

_WITHIN = 20.0  # seconds that the real server may take for what the model did at once
_ROUNDS = 1_000  # of the loop, in which the model has to come to an end
_WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
_TERMINATE = "SELECT pg_terminate_backend($1, 10000)"


@dataclass(frozen=True, slots=True)
class Step:
    """What a session does: a statement, commit, rollback, give up (waiting) or die."""

    session: int
    what: Call | str
    in_block: bool  # whether a statement begins a block where there is none


class SetClock:
    """The model's clock, which is set to the real server's at each transaction's begin."""

    def __init__(self) -> None:
        self.time = datetime(2000, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@dataclass(slots=True)
class Client:
    """One session on each server."""

    real: asyncpg.Connection
    model: asyncpg.Connection
    block: tuple[Transaction, Transaction] | None = None
    alone: Transaction | None = None  # on the real server, around a statement that has no block
    waiting: "tuple[asyncio.Task[Outcome], asyncio.Task[Outcome]] | None" = None

    @property
    def session(self) -> Session:
        session: Session = self.model._protocol.session  # type: ignore[attr-defined]
        return session


class Pair:
    """Both servers. Only one session waits at a time, so that who goes on first is never a matter of luck."""

    def __init__(self, url: str, observer: asyncpg.Connection) -> None:
        self.seen: Counter[str] = Counter()
        self._url, self._observer = url, observer
        self._heard: tuple[list[object], list[object]] = ([], [])
        self._clock, self._clients = SetClock(), list[Client]()
        self._model = Database(self._clock)

    async def play(self, steps: Sequence[Step]) -> None:
        """Makes every step on both servers, ends what is open, and compares what is left."""
        async with self._servers():
            for step in steps:
                await self._step(self._clients[step.session], step)
                await self._look_after_waiting()
            for client in self._clients:
                await self._give_up(client)
            for client in self._clients:
                await self._end_block(client, committed=False)
            await self._compare()

    # steps

    async def _step(self, client: Client, step: Step) -> None:
        if step.what == "give up":
            await self._give_up(client)
        elif step.what == "die":
            await self._die(client)
        elif client.waiting is None:
            if isinstance(step.what, Call):
                await self._begin(client, block=step.in_block)
                await self._call(client, step.what)
            else:
                await self._end_block(client, committed=step.what == "commit")

    async def _begin(self, client: Client, *, block: bool) -> None:
        if client.block is not None:
            return
        real, model = await self._begun(client), client.model.transaction()
        if block:
            await model.start()
            client.block = (real, model)
        else:
            client.alone = real

    async def _call(self, client: Client, call: Call) -> None:
        held = dict(self._model.locks.held)
        model = asyncio.create_task(_outcome(call.run(client.model)))
        await self._settled(client, model)
        if not model.done() and any(other.waiting for other in self._clients):
            self.seen["second wait avoided"] += 1
            await _cancelled(model)
            self._model.locks.held = held
            await self._undo(client)
            return
        real = asyncio.create_task(_outcome(call.run(client.real)))
        if model.done():
            self.seen[
                call.function.__name__ + ("" if model.result()[1] not in (None, [], False) else " in vain")
            ] += 1
            await self._finish(client, model, real, call)
        else:
            self.seen[f"waited in {call.function.__name__}"] += 1
            client.waiting = (model, real)
            await self._really_waits(client, real, call)

    async def _end_block(self, client: Client, *, committed: bool) -> None:
        if client.block is not None:
            (real, model), client.block = client.block, None
            ends = (real.commit(), model.commit()) if committed else (real.rollback(), model.rollback())
            outcomes = [await _outcome(end) for end in ends]
            assert outcomes[0] == outcomes[1]

    async def _give_up(self, client: Client) -> None:
        """The caller of a waiting statement leaves, as after a timeout."""
        if client.waiting is not None:
            (model, real), client.waiting = client.waiting, None
            self.seen["given up"] += 1
            await _cancelled(model, real)
            await self._undo(client)

    async def _die(self, client: Client) -> None:
        """The servers end a session."""
        self.seen["died"] += 1
        await self._observer.execute(_TERMINATE, client.real.get_server_pid())
        client.session.cut()
        if client.waiting is not None:
            model, real = client.waiting
            assert await real == await model
        await poll(client.real.is_closed)
        await poll(client.model.is_closed)
        client.real, client.model = await self._really(), await self._modelled()
        client.block = client.alone = client.waiting = None

    # both servers

    async def _begun(self, client: Client) -> Transaction:
        """A transaction on the real server; the model's clock shows its time from now on."""
        transaction = client.real.transaction()
        await transaction.start()
        self._clock.time = await client.real.fetchval("SELECT now()")
        return transaction

    async def _settled(self, client: Client, model: "asyncio.Task[Outcome]") -> None:
        """Returns once the model has finished a statement, or has to wait for another session."""
        for _ in range(_ROUNDS):
            if model.done() or client.session.blocker() is not None:
                return
            await asyncio.sleep(0)
        raise AssertionError("the model hangs")

    async def _really_waits(self, client: Client, real: "asyncio.Task[Outcome]", call: Call) -> None:
        async def waits() -> bool:
            assert not real.done(), f"Postgres does not wait in {call}: {real.result()}"
            return bool(await self._observer.fetchval(_WAITS, client.real.get_server_pid()))

        await poll(waits, _WITHIN)

    async def _finish(
        self, client: Client, model: "asyncio.Task[Outcome]", real: "asyncio.Task[Outcome]", call: Call | None
    ) -> None:
        done, _ = await asyncio.wait([real], timeout=_WITHIN)
        assert done, f"Postgres waits in {call}"
        given = (real.result(), model.result())
        assert given[0] == given[1], f"Postgres {given[0]}, model {given[1]}, in {call}"
        if client.alone is not None:
            alone, client.alone = client.alone, None
            await (alone.commit() if model.result()[0] == "gave" else alone.rollback())

    async def _undo(self, client: Client) -> None:
        await self._end_block(client, committed=False)
        if client.alone is not None:
            alone, client.alone = client.alone, None
            await alone.rollback()

    async def _look_after_waiting(self) -> None:
        for client in self._clients:
            if client.waiting is not None:
                model, real = client.waiting
                await self._settled(client, model)
                if model.done():
                    client.waiting = None
                    await self._finish(client, model, real, None)

    # before and after

    @asynccontextmanager
    async def _servers(self) -> AsyncIterator[None]:
        """Both servers with empty tables; the real connections are used again unless something went wrong."""
        await empty(self._observer)
        self._model = Database(self._clock)
        self._model.register("EFFECT", EFFECT, "worker.effects", ("message_id", "note"))
        for heard in self._heard:
            heard.clear()
        listener = await self._model.connect("listener")
        await listener.add_listener(channel(CONSUMER), lambda *notice: self._heard[1].append(notice[2:]))
        reals = [client.real for client in self._clients] or [await self._really() for _ in range(SESSIONS)]
        self._clients = [Client(real, await self._modelled()) for real in reals]
        try:
            yield
        except BaseException:
            await self.close()
            raise
        for client in self._clients:
            await client.real.execute("SELECT pg_advisory_unlock_all()")

    async def close(self) -> None:
        """Ends the real connections, also where a statement waits."""
        clients, self._clients = self._clients, []
        for client in clients:
            await self._observer.execute(_TERMINATE, client.real.get_server_pid())
            await poll(client.real.is_closed)

    async def _really(self) -> asyncpg.Connection:
        session = {"timezone": "UTC"}
        return await asyncpg.connect(self._url, connection_class=HonestConnection, server_settings=session)

    async def _modelled(self) -> asyncpg.Connection:
        return await connect(
            self._model, PooledConnection, "client", {}, timeout=_WITHIN, command_timeout=None
        )

    async def _compare(self) -> None:
        for table in TABLES:
            assert await real_rows(self._observer, table) == model_rows(self._model, table), table
        await poll(lambda: len(self._heard[0]) >= len(self._heard[1]))
        assert self._heard[0] == self._heard[1]


@asynccontextmanager
async def pair(url: str) -> AsyncIterator[Pair]:
    observer = await asyncpg.connect(url)
    both = Pair(url, observer)
    try:
        await observer.execute(EFFECTS)
        await observer.add_listener(channel(CONSUMER), lambda *notice: both._heard[0].append(notice[2:]))
        yield both
        await both.close()
    finally:
        await observer.close()


async def _outcome(work: Awaitable[object]) -> Outcome:
    try:
        return "gave", await work
    except Exception as error:  # noqa: BLE001 - it is compared
        return "raised", type(error).__name__


async def _cancelled(*tasks: "asyncio.Task[Outcome]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
