"""`per_shop` limits that hold over all processes at every instant.

A running message has a slot of its shop: a session advisory lock on one direct connection per process, which dies with
it, so nobody has to clean up after a crash. But Postgres frees the locks of a lost connection before their process can
know. Two rules keep the limit exact all the same:

* A handler is only stepped while its process has heard from that connection within the last `SURE_SECONDS`
  (`libs.common.runtime.fence`). So a process that was frozen or cut off does nothing more under a lock it has lost.
* Whoever takes a slot whose last holder did not give it back waits for as long before using it: the table `slots`
  tells. A crash of Postgres, or a standby in its place, empties that table, and a marker in it with the rest: until the
  marker is there for as long, every slot is taken like an abandoned one.
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
from libs.common.outbox.names import bind

SURE_SECONDS = 2.0  # how long after Postgres answered a session its locks are believed in
IDLE_SECONDS = 6.0  # Postgres ends the session, and with it the locks, of a process silent for so long

# A session may take its own lock again, so the slots this process uses are left out by number. OFFSET 0 keeps Postgres
# from trying the locks first, which it may find the cheaper of the two conditions. xmax is zero in a row that is new.
TAKE = """
WITH began AS (
    INSERT INTO CONSUMER.slots (key, number) VALUES (0, -1) ON CONFLICT (key, number) DO NOTHING
), mine AS (
    SELECT number FROM (SELECT number FROM generate_series(0, $2 - 1) AS number WHERE number <> ALL ($3::int[])
                        OFFSET 0) AS others
    WHERE pg_try_advisory_lock($1, number) LIMIT 1
)
INSERT INTO CONSUMER.slots (key, number) SELECT $1, number FROM mine
ON CONFLICT (key, number) DO UPDATE SET taken_at = now()
RETURNING number, xmax <> 0 OR NOT EXISTS (
    SELECT FROM CONSUMER.slots
    WHERE key = 0 AND number = -1 AND taken_at < clock_timestamp() - make_interval(secs => $4)) AS doubtful
"""

# The count makes the unlock wait for the delete; who then takes the lock waits for the delete's commit.
RELEASE = """
WITH gone AS (DELETE FROM CONSUMER.slots WHERE key = $1 AND number = $2 RETURNING number)
SELECT pg_advisory_unlock($1, $2) FROM (SELECT count(*) FROM gone) AS done
"""


def lock_class(handler: str, shop: str) -> int:
    """The first key of the advisory lock: 32 bits of a hash, so that two shops may rarely share a limit."""
    digest = hashlib.blake2b(f"{handler}\0{shop}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big", signed=True)


class Session:
    """The connection that holds this process's locks, and until when they are believed in."""

    def __init__(self, conn: asyncpg.Connection, clock: Clock) -> None:
        self.conn = conn
        self.held: dict[int, set[int]] = defaultdict(set)
        self._clock = clock
        self._sure_until = 0.0

    def sure(self) -> bool:
        """Whether Postgres cannot have freed the locks yet, for want of a sign of life from us or from itself."""
        return self._clock.monotonic() < self._sure_until and not self.conn.is_closed()

    def wants_ping(self) -> bool:
        """With locks always; without, before Postgres ends the session for its silence."""
        quiet = self._clock.monotonic() - self._sure_until + SURE_SECONDS
        return bool(self.held) or quiet > IDLE_SECONDS / 3

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """Locks and unlocks: where their outcome is unknown, the session goes, and with it every lock."""
        started = self._clock.monotonic()
        try:
            row = await self.conn.fetchrow(statement, *arguments)
        except BaseException:
            self.conn.terminate()
            raise
        self._sure_until = started + SURE_SECONDS
        return row


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a shop: what its handler is fenced by."""

    key: int
    number: int
    session: Session
    owner: "Slots"

    def sure(self) -> bool:
        return self.session.sure()

    def lost(self) -> bool:
        return not self.owner.has(self.session)

    async def prove(self) -> None:
        await self.owner.prove(self.session)


class Slots:
    """The per-shop slots this process holds."""

    def __init__(self, connect: Connect, consumer: str, clock: Clock, *, lost: Callable[[], None]) -> None:
        self._connect, self._clock, self._lost = connect, clock, lost
        self._take, self._release = bind(TAKE, consumer=consumer), bind(RELEASE, consumer=consumer)
        self._session: Session | None = None
        self._turn = asyncio.Lock()

    async def take(self, handler: str, shop: str, limit: int) -> Slot | None:
        """A slot for one message, or None while all are in use somewhere. Raises `DatabaseAway`."""
        key = lock_class(handler, shop)
        async with self._turn:
            with database_away_named():
                session = await self._opened()
                others = sorted(session.held.get(key, ()))
                row = await session.fetchrow(self._take, key, limit, others, SURE_SECONDS)
            if row is None:
                return None
            session.held[key].add(row["number"])
        slot = Slot(key, row["number"], session, self)
        if row["doubtful"]:
            await self._settle(slot)
        return slot

    async def _settle(self, slot: Slot) -> None:
        """Waits until the slot's last holder surely does nothing more.

        Whoever is cancelled meanwhile stops, or has lost its session: the slot goes with that, and its row stays.
        Giving it back would tell the next holder that there is nobody left to wait for.
        """
        await self._clock.sleep(SURE_SECONDS)
        if slot.lost():
            raise DatabaseAway("the lock's session was lost while its slot was settling")

    async def release(self, taken: Slot) -> None:
        """Gives a slot back; without effect where its session, and so the lock, is gone. Raises `DatabaseAway`."""
        async with self._turn:
            session = taken.session
            if not self.has(session):
                return
            session.held[taken.key].discard(taken.number)
            if not session.held[taken.key]:
                del session.held[taken.key]
            with database_away_named():
                await session.fetchrow(self._release, taken.key, taken.number)

    def has(self, session: Session) -> bool:
        """Whether it is the one whose locks this process has now."""
        return session is self._session

    async def prove(self, session: Session) -> None:
        """Asks Postgres whether the session lives, unless that is known."""
        async with self._turn:
            if self.has(session) and not session.sure():
                await self._ping(session)

    async def keep_for_ever(self) -> None:
        """Shows Postgres that this process lives, and this process that its locks do."""
        while True:
            await self._clock.sleep(SURE_SECONDS / 4)
            async with self._turn:
                if self._session is not None and self._session.wants_ping():
                    await self._ping(self._session)

    async def _ping(self, session: Session) -> None:
        try:
            with database_away_named():
                await session.fetchrow("SELECT 1")
        except DatabaseAway:
            self._gone(session)

    async def close(self) -> None:
        """Ends the session and with it every lock."""
        if self._session is not None:
            session, self._session = self._session, None
            session.conn.terminate()

    async def _opened(self) -> Session:
        if self._session is not None and self._session.conn.is_closed():
            self._gone(self._session)  # asyncpg has ways of closing one that tell nobody
        if self._session is None:
            conn = await self._connect(idle_session_timeout=f"{IDLE_SECONDS:g}s")
            session = Session(conn, self._clock)
            conn.add_termination_listener(lambda _: self._gone(session))
            self._session = session
        return self._session

    def _gone(self, session: Session) -> None:
        if self.has(session):
            self._session = None
            self._lost()
