"""`per_shop` limits that hold over all processes: one session advisory lock per running message.

The locks live on one direct connection per process and die with it, so nobody has to clean up after a crash.
When the connection is lost, so are the limits: what runs under them is cancelled and given back.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from libs.common.clock import Clock
from libs.common.db import Connect, database_away_named
from libs.common.errors import DatabaseAway

# A session may take its own lock again, so the slots this process uses are left out by number. OFFSET 0 keeps Postgres
# from trying the locks first, which it may find the cheaper of the two conditions.
TAKE = """
SELECT slot FROM (SELECT slot FROM generate_series(0, $2 - 1) AS slot WHERE slot <> ALL ($3::int[]) OFFSET 0) AS free
WHERE pg_try_advisory_lock($1, slot) LIMIT 1
"""
RELEASE = "SELECT pg_advisory_unlock($1, $2)"

IDLE_SECONDS = 12.0  # Postgres ends the session, and with it the locks, of a process silent for so long


def lock_class(handler: str, shop: str) -> int:
    """The first key of the advisory lock: 32 bits of a hash, so that two shops may rarely share a limit."""
    digest = hashlib.blake2b(f"{handler}\0{shop}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big", signed=True)


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a shop, and the session whose lock it is."""

    key: int
    number: int
    session: asyncpg.Connection


class Slots:
    """The per-shop slots this process holds."""

    def __init__(self, connect: Connect, *, lost: Callable[[], None]) -> None:
        self._connect = connect
        self._lost = lost
        self._conn: asyncpg.Connection | None = None
        self._held: dict[int, set[int]] = defaultdict(set)
        self._turn = asyncio.Lock()

    async def take(self, handler: str, shop: str, limit: int) -> Slot | None:
        """A slot for one message, or None while all are in use somewhere. Raises `DatabaseAway`."""
        key = lock_class(handler, shop)
        async with self._turn:
            with database_away_named():
                conn = await self._connection()
                slot = await self._surely(conn, TAKE, key, limit, sorted(self._held.get(key, ())))
            if slot is None:
                return None
            self._held[key].add(slot)
            return Slot(key, slot, conn)

    async def _surely(self, conn: asyncpg.Connection, statement: str, *arguments: object) -> int | None:
        """Locks and unlocks: where their outcome is unknown, the session goes, and with it every lock."""
        try:
            result: int | None = await conn.fetchval(statement, *arguments)
        except BaseException:
            conn.terminate()
            raise
        return result

    async def release(self, taken: Slot) -> None:
        """Gives a slot back; without effect where its connection, and so the lock, is gone."""
        async with self._turn:
            if taken.session is not self._conn:
                return
            self._held[taken.key].discard(taken.number)
            if not self._held[taken.key]:
                del self._held[taken.key]
            with database_away_named():
                await self._surely(taken.session, RELEASE, taken.key, taken.number)

    async def keep_for_ever(self, clock: Clock) -> None:
        """Shows Postgres that this process lives: a frozen one loses its locks, so that its shops are not stuck."""
        while True:
            await clock.sleep(IDLE_SECONDS / 4)
            if self._held:
                await self._ping()

    async def _ping(self) -> None:
        async with self._turn:
            if self._conn is None or self._conn.is_closed():
                return
            try:
                with database_away_named():
                    await self._conn.execute("SELECT 1")
            except DatabaseAway:
                self._conn.terminate()

    async def close(self) -> None:
        """Ends the session and with it every lock."""
        if self._conn is not None:
            conn, self._conn = self._conn, None
            conn.remove_termination_listener(self._gone)
            conn.terminate()

    async def _connection(self) -> asyncpg.Connection:
        if self._conn is not None and self._conn.is_closed():
            self._gone(self._conn)  # asyncpg has ways of closing one that tell nobody
        if self._conn is None:
            self._conn = await self._connect(idle_session_timeout=f"{IDLE_SECONDS:g}s")
            self._conn.add_termination_listener(self._gone)
        return self._conn

    def _gone(self, conn: object) -> None:
        if conn is not self._conn:
            return
        self._conn = None
        self._held.clear()
        self._lost()
