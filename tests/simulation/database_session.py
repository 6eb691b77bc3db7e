"""The server's side of one connection: runs its statements, waits for locks, and ends with everything it held."""

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg

from tests.simulation.database_heap import Row, Steps, Transaction
from tests.simulation.sql import Answer, Statement

if TYPE_CHECKING:
    from tests.simulation.database import Database

DEADLOCK_SECONDS = 1.0  # how long a statement waits before Postgres looks whether it waits for itself
DEAD_PEER_SECONDS = 11.0  # after which keepalives find out that a peer is gone (libs.common.db.SESSION)
_TICK = 1e-7
SERVER = Context()  # what runs here is part of no simulated process


class Client(Protocol):
    """The client's side; both are called as a part of its process."""

    def answered(self, outcome: Answer | Exception, in_transaction: bool) -> None: ...
    def lost(self) -> None: ...
    def notified(self, channel: str, payload: str) -> None: ...


class Session:
    """One backend of the server."""

    def __init__(
        self, database: "Database", process: str, client: Client, settings: Mapping[str, str], *, pid: int
    ) -> None:
        self.database, self.process, self.pid = database, process, pid
        self.ended = False
        self.listens: set[str] = set()
        self._client, self._context = client, copy_context()
        self._loop = asyncio.get_running_loop()
        self._tx: Transaction | None = None
        self._block = self._failed = self._silent = self._client_gone = False
        self._running: Statement | None = None
        self._steps: Steps[Answer] | None = None
        self._blocked_on: Row | Transaction | None = None
        self._waking: asyncio.Handle | None = None
        self._deadlock: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._told = 0.0
        self._patience = [_seconds(settings.get(name)) for name in _IDLE_SETTINGS]
        self._rest()

    # what the client sends

    def send(self, query: str, args: tuple[Any, ...]) -> None:
        """A command on its way to the server; the client sends the next one after the answer."""
        self._running = self.database.statement(query)
        self._later(self._arrive, self._running, args)

    def cancel(self) -> None:
        """A request to cancel has come in over a connection of its own."""
        if self._steps is not None and not self.ended:
            self._step(asyncpg.QueryCanceledError("canceling statement due to user request"))

    def hang_up(self) -> None:
        """The client drops the connection. What it has sent is still done, as nobody looks at a socket meanwhile."""
        self._client_gone = True
        if self._silent:
            return  # keepalives will find out
        if self._running is None:
            self._later(self.end)

    # what happens to it

    def crash(self, *, last_words: bool) -> None:
        """The client's process is no more; with `last_words` the command under way is still done."""
        self._client_gone = True
        if not (last_words and self._running is not None):
            self.end()

    def cut(self) -> None:
        """Server or network end the connection; the client is told, unless nothing reaches it."""
        if not self.ended:
            self.end()
            self._tell(self._client.lost)

    def silence(self) -> None:
        """From now on nothing gets through in either direction."""
        self._silent = True
        self._after(DEAD_PEER_SECONDS, self.end)

    def end(self) -> None:
        """The session is over: what was not committed is undone, and all its locks are free."""
        if self.ended:
            return
        self.ended = True
        if self._steps is not None:
            self._steps.close()
        self._forget()
        if self._idle is not None:
            self._idle.cancel()
        self._close(committed=False)
        self.database.forget(self)

    def wake(self) -> None:
        """What this session waits for may be free."""
        if self._waking is None and self._blocked_on is not None:
            self._waking = self._loop.call_soon(self._step, None, context=SERVER)

    def blocker(self) -> "Transaction | None":
        """Whose end this session waits for."""
        return None if self._blocked_on is None else self._blocked_on.owner

    # running statements

    def _arrive(self, statement: Statement, args: tuple[Any, ...]) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        match None if self._silent else self.database.faults.before(self.process, statement.name):
            case "lost":
                self.cut()
            case "hang":
                self.silence()
            case _ if not self._silent:
                self._execute(statement, args)

    def _execute(self, statement: Statement, args: tuple[Any, ...]) -> None:
        if statement.control:
            self._control(statement.name)
        elif self._failed:
            self._finish(asyncpg.InFailedSQLTransactionError("current transaction is aborted"))
        else:
            if self._tx is None:
                self._tx = Transaction(self, self.database.now())
            try:
                result = statement.run(self._tx, *args)
            except asyncpg.PostgresError as error:
                self._fail(error)
                return
            if isinstance(result, Generator):
                self._steps = result
                self._step(None)
            else:
                self._done(result)

    def _control(self, name: str) -> None:
        failed = self._failed
        if name == "BEGIN":
            self._block, self._tx = True, Transaction(self, self.database.now())
        else:
            self._close(committed=name == "COMMIT")
        self._finish("ROLLBACK" if failed and name == "COMMIT" else name)

    def _step(self, error: Exception | None) -> None:
        """Goes on with a statement until it ends or has to wait."""
        steps = self._steps
        assert steps is not None
        self._rouse()
        try:
            self._blocked_on = next(steps) if error is None else steps.throw(error)
        except StopIteration as stop:
            self._steps = None
            self._done(stop.value)
        except asyncpg.PostgresError as raised:
            self._steps = None
            self._fail(raised)
        else:
            self._deadlock = self._after(DEADLOCK_SECONDS, self._look_for_deadlock)

    def _look_for_deadlock(self) -> None:
        seen: set[int] = set()
        other = self.blocker()
        while other is not None and id(other) not in seen:
            if other is self._tx:
                self._step(asyncpg.DeadlockDetectedError("deadlock detected"))
                return
            seen.add(id(other))
            other = other.sleeper.blocker()

    def _rouse(self) -> None:
        self._blocked_on = None
        for handle in (self._waking, self._deadlock):
            if handle is not None:
                handle.cancel()
        self._waking = self._deadlock = None

    def _forget(self) -> None:
        self._rouse()
        self._steps = self._running = None

    def _done(self, answer: Answer) -> None:
        if not self._block:
            self._close(committed=True)
        self._finish(answer)

    def _fail(self, error: Exception) -> None:
        """An error undoes a transaction at once, though its block goes on until COMMIT or ROLLBACK."""
        block = self._block
        self._close(committed=False)
        self._block = self._failed = block
        self._finish(error)

    def _close(self, *, committed: bool) -> None:
        tx, self._tx = self._tx, None
        self._block = self._failed = False
        if tx is not None:
            tx.end(committed=committed)
            if committed:
                self.database.publish(tx.notices)

    def _finish(self, outcome: Answer | Exception) -> None:
        statement, self._running = self._running, None
        assert statement is not None
        if self._silent:
            return
        if self._client_gone:
            self.end()
            return
        match self.database.faults.after(self.process, statement.name):
            case "lost":
                self.cut()
            case "hang":
                self.silence()
            case _:
                self._rest()
                self._tell(self._client.answered, outcome, self._block)

    # messages and timers

    def notify(self, channel: str, payload: str) -> None:
        if channel in self.listens and not self._silent:
            self._tell(self._client.notified, channel, payload)

    def _rest(self) -> None:
        """The server waits for the client, but not for ever."""
        patience = self._patience[0 if self._block else 1]
        if patience:
            self._idle = self._after(patience, self.cut)

    def _later(self, act: Callable[..., None], *args: Any) -> None:
        self._loop.call_later(self.database.latency(), self._unless_ended, act, *args, context=SERVER)

    def _after(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, self._unless_ended, act, context=SERVER)

    def _unless_ended(self, act: Callable[..., None], *args: Any) -> None:
        if not self.ended:
            act(*args)

    def _tell(self, act: Callable[..., None], *args: Any) -> None:
        """Something for the client, which arrives in the order in which it was sent."""
        if not self._silent:
            self._told = max(self._told + _TICK, self._loop.time() + self.database.latency())
            self._loop.call_at(self._told, self._deliver, act, *args, context=self._context)

    def _deliver(self, act: Callable[..., None], *args: Any) -> None:
        if not self._client_gone:
            act(*args)


_IDLE_SETTINGS = ("idle_in_transaction_session_timeout", "idle_session_timeout")


def _seconds(setting: str | None) -> float:
    return float((setting or "0").removesuffix("s"))
