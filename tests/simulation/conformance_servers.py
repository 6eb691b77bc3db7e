"""The real Postgres and its model behind one face, for tests that run on both."""

from contextlib import AsyncExitStack
from typing import Protocol

import asyncpg

from libs.common.db import HonestConnection
from tests.clocks import TurnedClock
from tests.simulation.database import Database
from tests.simulation.database_client import PooledConnection, connect


class Server(Protocol):
    """Either of them."""

    async def connect(self, **session: str) -> asyncpg.Connection: ...
    async def waits(self, conn: asyncpg.Connection) -> bool: ...


class Real:
    """PostgreSQL."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url, self._stack = url, stack

    async def connect(self, **session: str) -> asyncpg.Connection:
        conn = await asyncpg.connect(self._url, connection_class=HonestConnection, server_settings=session)
        self._stack.push_async_callback(conn.close)
        return conn

    async def waits(self, conn: asyncpg.Connection) -> bool:
        observer = await self.connect()
        text = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        return bool(await observer.fetchval(text, conn.get_server_pid()))


class Model:
    """The simulation's."""

    def __init__(self) -> None:
        self._database = Database(TurnedClock())

    async def connect(self, **session: str) -> asyncpg.Connection:
        return await connect(
            self._database, PooledConnection, "any", session, timeout=3, command_timeout=None
        )

    async def waits(self, conn: asyncpg.Connection) -> bool:
        pid = conn.get_server_pid()
        return any(
            session.pid == pid and session.blocker() is not None for session in self._database.sessions
        )
