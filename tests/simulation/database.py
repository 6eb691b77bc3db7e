"""Postgres and asyncpg for the simulation: they know the protocol's own statements, and nothing else.

The server is a model in memory (`database_heap`, `database_session`, `sql_*`), proved against the real one by
test_conformance.py. The client is asyncpg itself above its protocol (`database_client`). All of it runs on any asyncio
loop and waits for nothing but that loop's time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import count
from typing import Literal, Protocol, TypeAlias

import asyncpg

from libs.common.contracts.topology import CONSUMERS, SOURCES
from libs.common.db import IDLE_IN_TRANSACTION, _nothing_to_reset
from libs.common.outbox.names import bind
from tests.simulation import sql_claim, sql_end, sql_put, sql_runtime
from tests.simulation.database_client import DirectConnection, PooledConnection, Simulated, Wire, connect
from tests.simulation.database_heap import Table, Transaction
from tests.simulation.database_session import Session
from tests.simulation.sql import NOTHING, AdvisoryLocks, Answer, Places, Statement, insertion

Fault: TypeAlias = Literal["lost", "hang"] | None
TIMEOUT = 3.0  # settings.database_timeout_seconds


class Now(Protocol):
    """The server's own clock."""

    def now(self) -> datetime: ...


class Faults(Protocol):
    """What may happen to a command on its way.

    `before` it reaches the server, or `after` it was done: "lost" ends the connection; "hang" lets nothing through any
    more, in either direction, and nobody is told. Statements have the names of their constants (that of the schedules'
    TAKE is TAKE_TICK); BEGIN, COMMIT, ROLLBACK, LISTEN, PING, CONNECT and CANCEL are asked about too, the last two only
    `before`.
    """

    def before(self, process: str, statement: str) -> Fault: ...
    def after(self, process: str, statement: str) -> Fault: ...


class NoFaults:
    """All goes well."""

    def before(self, process: str, statement: str) -> Fault:
        return None

    def after(self, process: str, statement: str) -> Fault:
        return None


class UnknownStatement(Exception):
    """The model knows the protocol's own constants, bound to schemas of the topology, and what was registered."""


class Database:
    """One server, and the way to it."""

    def __init__(self, clock: Now) -> None:
        self.latency: Callable[[], float] = lambda: 0.0
        self.faults: Faults = NoFaults()
        self.tables = {table.name: table for table in _tables()}
        self.locks = AdvisoryLocks()
        self.now = clock.now
        self.sessions: dict[Session, None] = {}
        self._down = False
        self._pids = count(1)
        self._statements = dict(_statements(self))

    # what processes get

    def pool(
        self, process: str, *, size: int = 12, command_timeout: float | None = TIMEOUT,
        longest_transaction: float = IDLE_IN_TRANSACTION,
    ) -> asyncpg.Pool:  # fmt: skip
        """A pool like that of `libs.common.db.open_pool`, open already."""

        async def get_connection(*_: object, **options: object) -> Simulated:
            session = {"idle_in_transaction_session_timeout": f"{longest_transaction:g}s"}
            return await connect(
                self, PooledConnection, process, session, timeout=TIMEOUT, command_timeout=command_timeout
            )

        pool = asyncpg.create_pool(
            connect=get_connection, min_size=0, max_size=size, max_inactive_connection_lifetime=300,
            reset=_nothing_to_reset, connection_class=PooledConnection, loop=asyncio.get_running_loop(),
        )  # fmt: skip
        _open_at_once(pool)
        return pool

    async def connect(self, process: str, **session: str) -> asyncpg.Connection:
        """A connection of its own, like those of `libs.common.db.direct_connections`."""
        return await connect(
            self, DirectConnection, process, session, timeout=TIMEOUT, command_timeout=TIMEOUT
        )

    # what the simulation does to them

    @property
    def down(self) -> bool:
        """Whether the server is away. Going down is a crash: sessions end, unlogged tables are empty afterwards."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        if down and not self._down:
            for session in list(self.sessions):
                session.cut()
            for table in self.tables.values():
                if table.unlogged:
                    table.truncate()
        self._down = down

    def crash_process(self, process: str, *, last_words: bool = False) -> None:
        """Ends a process' sessions; nothing of the client runs. With `last_words` what it has sent is still done."""
        for session in [session for session in self.sessions if session.process == process]:
            session.crash(last_words=last_words)

    def cut(self, process: str) -> None:
        """Ends a process' connections, and tells both sides."""
        for session in [session for session in self.sessions if session.process == process]:
            session.cut()

    def silence(self, process: str) -> None:
        """Nothing gets through on a process' connections any more, and nobody is told."""
        for session in [session for session in self.sessions if session.process == process]:
            session.silence()

    def register(self, name: str, text: str, table: str, columns: Sequence[str]) -> None:
        """A handler's `INSERT INTO table (columns) VALUES ($1, …)`, into a table without a key.

        Each row also says when, as `at`.
        """
        self.tables.setdefault(table, Table(table))
        self._statements[text] = Statement(name, insertion(self.tables[table], columns))

    # what connections and sessions ask

    async def reach(self, process: str, command: str) -> None:
        """A new connection to the server."""
        await asyncio.sleep(self.latency())
        fault = self.faults.before(process, command)
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "lost" or self._down:
            raise ConnectionRefusedError("the server is not there")

    def begin_session(self, process: str, wire: Wire, settings: Mapping[str, str]) -> Session:
        session = Session(self, process, wire, settings, pid=next(self._pids))
        self.sessions[session] = None
        return session

    def statement(self, query: str) -> Statement:
        known = self._statements.get(query)
        if known is None and query.startswith(("LISTEN ", "UNLISTEN ")):
            known = self._statements[query] = _listening(query)
        if known is None:
            raise UnknownStatement(query)
        return known

    def publish(self, notices: Iterable[tuple[str, str]]) -> None:
        """Sends a committed transaction's notifications."""
        for notice in notices:
            for session in list(self.sessions):
                session.notify(*notice)

    def forget(self, session: Session) -> None:
        """A session is over."""
        del self.sessions[session]
        self.locks.end(session)


def _tables() -> list[Table]:
    tables = []
    for source in SOURCES:
        tables += [
            Table(f"{source}.messages", ("id",), sql_put.KEY),
            Table(f"{source}.outbox", ("destination", "lane", "id")),
            Table(f"{source}.duplicates", ("counter",)),
        ]
    for consumer in CONSUMERS:
        tables += [
            Table(f"{consumer}.scheduled", ("source", "message_id")),
            Table(f"{consumer}.failed", ("source", "message_id")),
            Table(f"{consumer}.history", ("message_id",)),
            Table(f"{consumer}.schedules", ("name",)),
            Table(f"{consumer}.slots", ("key", "number"), unlogged=True),
        ]
    return tables


def _statements(database: Database) -> Iterable[tuple[str, Statement]]:
    for control in ("BEGIN", "COMMIT", "ROLLBACK"):
        yield f"{control};", Statement(control, _nothing, control=True)
    yield "ROLLBACK", Statement("ROLLBACK", _nothing, control=True)
    yield "SELECT 1", Statement("PING", _nothing)
    modules = (sql_put, sql_claim, sql_end, sql_runtime)
    known = {name: entry for module in modules for name, entry in module.STATEMENTS.items()}
    for source in SOURCES:
        for consumer in CONSUMERS:
            places = Places(database.tables, source, consumer, database)
            for name, (constant, run) in known.items():
                text = bind(bind(constant, source=source), consumer=consumer)
                yield text, Statement(name, partial(run, places))


def _nothing(*_: object) -> Answer:
    return NOTHING


def _listening(query: str) -> Statement:
    verb, channel = query.split(" ", 1)

    def run(tx: Transaction) -> Answer:
        listens = tx.sleeper.listens
        (listens.add if verb == "LISTEN" else listens.discard)(channel.strip('"'))
        return NOTHING

    return Statement(verb, run)


def _open_at_once(pool: asyncpg.Pool) -> None:
    """Opening a pool without connections waits for nothing."""
    try:
        pool.__await__().send(None)
    except StopIteration:
        return
    raise AssertionError("the pool waits for something")
