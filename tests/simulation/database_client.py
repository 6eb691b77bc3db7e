"""asyncpg on the simulated server: its own connections and pools, on a stand-in for its protocol.

Everything above the protocol is asyncpg's and the project's own code: pool, transactions, listeners, HonestConnection.
The protocol is written in Cython and needs a socket; `Wire` behaves as it does: one command at a time with a deadline,
a request to cancel where the deadline ran out or the caller left, and no further command before that is answered.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import asyncpg
from asyncpg.connect_utils import _ClientConfiguration

from libs.common.db import HonestConnection
from tests.simulation.database_session import Session
from tests.simulation.sql import Answer

if TYPE_CHECKING:
    from tests.simulation.database import Database

_SETTINGS = SimpleNamespace(server_version="18.0")


class Wire:
    """Stands for `asyncpg.protocol.Protocol`, whose names its public and half-public methods bear."""

    def __init__(self, loop: asyncio.AbstractEventLoop, command_timeout: float | None) -> None:
        self.queries_count = 0
        self.connection: Simulated | None = None
        self.session: Session | None = None
        self._loop, self._command_timeout = loop, command_timeout
        self._closing = self._in_transaction = False
        self._waiter: asyncio.Future[Answer] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._cancel_waiter: asyncio.Future[None] | None = None
        self._cancel_sent_waiter: asyncio.Future[None] | None = None

    # what a connection calls

    def get_settings(self) -> object:
        return _SETTINGS

    def get_server_pid(self) -> int:
        assert self.session is not None
        return self.session.pid

    def is_connected(self) -> bool:
        return not self._closing

    def is_in_transaction(self) -> bool:
        return self._in_transaction

    async def query(self, query: str, timeout: float | None) -> str:
        return cast("str", await self.run(query, (), timeout))

    async def run(self, query: str, args: Sequence[Any], timeout: float | None) -> Answer:
        """One command and its answer."""
        timeout = self._command_timeout if timeout is None else float(timeout)
        if timeout is not None and timeout <= 0:
            raise TimeoutError
        timeout = await self._wait_for_cancellation(timeout)
        self._check_state()
        assert self.session is not None
        waiter = self._waiter = self._loop.create_future()
        if timeout is not None:
            self._deadline = self._loop.call_later(timeout, self._on_timeout, waiter)
        self.queries_count += 1
        self.session.send(query, tuple(args))
        try:
            answer: Answer = await waiter
        except asyncio.CancelledError:
            self._on_cancelled(waiter)
            raise
        return answer

    def _check_state(self) -> None:
        if self._cancel_waiter is not None:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is cancelling")
        if self._closing:
            raise asyncpg.InterfaceError("cannot perform operation: connection is closed")
        if self._waiter is not None or self._deadline is not None:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")

    def abort(self) -> None:
        """Drops the connection at once."""
        self._complete_cancel_waiters()
        if self._closing:
            return
        self._closing = True
        self._fail_waiter()
        assert self.session is not None
        self.session.hang_up()

    async def close(self, timeout: float | None) -> None:
        """Ends the connection after what is still being cancelled."""
        if self._closing:
            return
        async with asyncio.timeout(self._command_timeout if timeout is None else timeout):
            await self._wait_for_cancellation()
        self.abort()

    # deadlines and cancelling

    def _is_cancelling(self) -> bool:
        return self._cancel_waiter is not None or self._cancel_sent_waiter is not None

    async def _wait_for_cancellation(self, timeout: float | None = None) -> float | None:
        if not self._is_cancelling():
            return timeout
        started = self._loop.time()
        try:
            async with asyncio.timeout(timeout):
                if self._cancel_sent_waiter is not None:
                    await asyncio.shield(self._cancel_sent_waiter)
                    self._cancel_sent_waiter = None
                if self._cancel_waiter is not None:
                    await asyncio.shield(self._cancel_waiter)
        except TimeoutError:
            if self.connection is not None:
                self.connection.terminate()
            raise
        if timeout is not None:
            timeout -= self._loop.time() - started
            if timeout <= 0:
                raise TimeoutError
        return timeout

    def _on_timeout(self, waiter: "asyncio.Future[Answer]") -> None:
        if (
            self._waiter is not waiter
            or waiter.done()
            or self._cancel_waiter is not None
            or not self._deadline
        ):
            return
        self._deadline = None
        self._request_cancel()
        waiter.set_exception(TimeoutError())

    def _on_cancelled(self, waiter: "asyncio.Future[Answer]") -> None:
        self._stop_deadline()
        if waiter is self._waiter and self._cancel_waiter is None and waiter.cancelled():
            self._request_cancel()

    def _request_cancel(self) -> None:
        self._cancel_waiter = self._loop.create_future()
        self._cancel_sent_waiter = self._loop.create_future()
        if self.connection is not None:
            self.connection._cancel_current_command(self._cancel_sent_waiter, self._cancel_waiter)

    def _complete_cancel_waiters(self) -> None:
        for waiter in (self._cancel_sent_waiter, self._cancel_waiter):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._cancel_sent_waiter = self._cancel_waiter = None

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # what the server sends

    def answered(self, outcome: Answer | Exception, in_transaction: bool) -> None:
        """The answer to the command under way."""
        if self._closing:
            return
        self._stop_deadline()
        self._in_transaction = in_transaction
        if self._cancel_waiter is not None:
            if not self._cancel_waiter.done():
                self._cancel_waiter.set_result(None)
            self._cancel_waiter = None
            self._waiter = None
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.cancelled():
            return
        if isinstance(outcome, Exception):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)

    def notified(self, channel: str, payload: str) -> None:
        if self.connection is not None and not self._closing:
            self.connection._process_notification(self.get_server_pid(), channel, payload)

    def lost(self) -> None:
        """Server or network have ended the connection."""
        if self._closing:
            return
        self._closing = True
        if self.connection is not None:
            self.connection._cleanup()
        self._fail_waiter()

    def _fail_waiter(self) -> None:
        self._stop_deadline()
        if self._waiter is not None and not self._waiter.done():
            message = "connection was closed in the middle of operation"
            self._waiter.set_exception(asyncpg.ConnectionDoesNotExistError(message))
        self._waiter = None
        self._complete_cancel_waiters()


class Simulated(asyncpg.Connection):
    """An asyncpg connection whose statements go to the simulated server."""

    # asyncpg's own, which its types do not mention
    _aborted: bool
    _cancel_current_command: Callable[[object, object], None]
    _cancellations: set[Any]
    _cleanup: Callable[[], None]
    _config: Any
    _loop: asyncio.AbstractEventLoop
    _process_notification: Callable[[int, str, str], None]
    _protocol: Any
    _stmt_exclusive_section: Any

    async def _execute(
        self, query: str, args: Sequence[Any], limit: int, timeout: float | None, *, return_status: bool = False,
        **_: Any,
    ) -> Any:  # fmt: skip
        with self._stmt_exclusive_section:
            rows = list(await self._protocol.run(query, args, timeout))
        return (rows, b"", True) if return_status else rows

    async def _cancel(self, waiter: "asyncio.Future[None]", cancel_waiter: Any = None) -> None:
        """As asyncpg's own; only the request takes the simulation's way."""
        try:
            async with asyncio.timeout(self._config.command_timeout):
                await bring_cancel(self._protocol)
                if not waiter.done():
                    waiter.set_result(None)
                if cancel_waiter is not None:
                    await asyncio.shield(cancel_waiter)
        except asyncio.CancelledError:
            pass
        except Exception:  # noqa: BLE001 - as in asyncpg
            if not self._aborted:
                self.terminate()
        finally:
            self._cancellations.discard(asyncio.current_task(self._loop))
            if not waiter.done():
                waiter.set_result(None)

    def __del__(self) -> None:
        """A dead process closes nothing, so nobody is warned."""


class DirectConnection(Simulated):
    """What `asyncpg.connect` gives."""


class PooledConnection(Simulated, HonestConnection):
    """What `libs.common.db.open_pool` has in its pool."""


async def bring_cancel(wire: Wire) -> None:
    """Asks the server, over a connection of its own, to cancel what a session runs."""
    session = wire.session
    assert session is not None
    await session.database.reach(session.process, "CANCEL")
    session.cancel()


async def connect(
    database: "Database",
    kind: type[Simulated],
    process: str,
    settings: Mapping[str, str],
    *,
    timeout: float,
    command_timeout: float | None,
) -> Simulated:
    """A connection and its session; raises `OSError` or `TimeoutError`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        await database.reach(process, "CONNECT")
    wire = Wire(loop, command_timeout)
    wire.session = database.begin_session(process, wire, settings)
    config = _ClientConfiguration(
        command_timeout=command_timeout, statement_cache_size=0, max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
    )  # fmt: skip
    wire.connection = kind(cast("Any", wire), None, loop, ("simulated", 5432), config, cast("Any", None))
    return wire.connection
