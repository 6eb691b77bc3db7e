"""The run's own look at Postgres, past every proxy, which outlives outages."""

import asyncio
from types import TracebackType
from typing import Any, Self

import asyncpg

from tests.waiting import poll

_SECONDS = 2.0  # for connecting, and for any one statement
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Database:
    """One connection, opened anew after each failure."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._conn: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()

    async def ask(self, query: str, *args: Any) -> Any:
        """The first value of the first row; None while Postgres is away."""
        async with self._turn:
            try:
                return await (await self._connection()).fetchval(query, *args)
            except _AWAY:
                self._forget()
                return None

    async def surely(self, query: str, *args: Any, within: float = 60) -> Any:
        """As `ask`, and waits through an outage."""

        async def answered() -> tuple[Any] | None:
            value = await self.ask(query, *args)
            return None if value is None else (value,)

        (value,) = await poll(answered, within=within)
        return value

    async def _connection(self) -> asyncpg.Connection:
        if self._conn is None:
            self._conn = await asyncpg.connect(self._url, timeout=_SECONDS, command_timeout=_SECONDS)
        return self._conn

    def _forget(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
            self._conn = None
