"""Brings work out of Postgres into a consumer's hand: woken by NOTIFY, with polling as the net under it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.topology import Lane
from libs.common.db import Connect, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox import claim_store
from libs.common.outbox.claim_store import FIRST_ID, Claimed, ClaimPlan
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.wakes import Wake, channel
from libs.common.runtime import metrics
from libs.common.runtime.claims import Claims, Spot

_log = structlog.get_logger(__name__)

_LOOK_DUE_SECONDS = 1.0  # how late a message scheduled by another process may start
_LEAST_PAUSE_SECONDS = 0.05
_EXCESS = (Lane.OVERFLOW, Lane.BULK)


@dataclass(frozen=True, slots=True)
class _Loop:
    """What claims some of the spots, one after the other."""

    spots: Sequence[Spot]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class PostgresIntake:
    """Claims rows while there is room for them.

    The lanes of floods and of bulk work are claimed beside the others and not between them: such a claim is a large
    one, and whoever waits for a small one would wait for it too.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        plan: ClaimPlan,
        sources: Sequence[str],
        clock: Clock,
        *,
        room: Callable[[Lane], int],
        deliver: Callable[[Sequence[Claimed]], None],
        lost: Callable[[], None],
        batch: int,
        connect: Connect,
        timeout: float = 3.0,
        faults: FaultPoints | None = None,
    ) -> None:
        self.plan = plan
        self.claims = Claims(sources, clock)
        self._pool, self._sources, self._clock = pool, tuple(sources), clock
        self._room, self._deliver, self._lost, self._batch = room, deliver, lost, batch
        self._connect, self._timeout = connect, timeout
        self._faults = faults or FaultPoints()
        self._first = _Loop([spot for spot in self.claims.spots if spot.lane not in _EXCESS])
        self._excess = _Loop([spot for spot in self.claims.spots if spot.lane in _EXCESS])
        self._loops = (self._first, self._excess)
        self._halted = False
        self._due_at = clock.monotonic()

    def look(self) -> None:
        """There may be work that was not there before."""
        for loop in self._loops:
            loop.wake.set()

    def room_made(self) -> None:
        """There is room that was not there before: for those who left something behind."""
        for loop in self._loops:
            if self._left(loop):
                loop.wake.set()

    def due_in(self, seconds: float) -> None:
        """A message was scheduled by this process; it need not wait to be found."""
        self._due_at = min(self._due_at, self._clock.monotonic() + seconds)
        self._first.wake.set()

    def cut_off(self, *, early_seconds: float) -> None:
        """RabbitMQ does not reach us (`early_seconds` > 0) or does again (0): broker leases may be taken early."""
        self.plan = ClaimPlan(self.plan.consumer, self.plan.holder, self.plan.lease_seconds, early_seconds)
        self.claims.cut_off = early_seconds > 0
        self.claims.all_pending()
        self.look()

    async def run(self) -> None:
        """Claims until cancelled; while Postgres is away, tries again every fifth of a second.

        Looks after the sweep, and after what is due, as well.
        """
        await self._claim_for_ever(self._first, self._round, self._rest)

    async def run_excess(self) -> None:
        """As `run`, for the lanes of floods and of bulk work."""
        await self._claim_for_ever(self._excess, self._claim_excess, self._excess.wake.wait)

    async def _claim_for_ever(
        self, loop: _Loop, work: Callable[[], Awaitable[None]], rest: Callable[[], Awaitable[object]]
    ) -> None:
        while not self._halted:
            loop.wake.clear()
            try:
                async with loop.turn:
                    with database_away_named():
                        await work()
            except DatabaseAway:
                self._lost()
                self.claims.broke_off(loop.spots)
                await self._clock.sleep(0.2)
                continue
            if not self._left(loop):
                await rest()

    async def halt(self) -> None:
        """Claims nothing more; returns once the claims under way have been delivered."""
        self._halted = True
        self.look()
        for loop in self._loops:
            async with loop.turn:
                pass

    async def listen(self) -> None:
        """Listens for wake-ups on a connection of its own, again and again."""
        while True:
            try:
                with database_away_named():
                    await self._listen_once()
            except DatabaseAway:
                _log.warning("Wake-ups from Postgres stopped; polling until they are back.")
            await self._clock.sleep(0.5)

    async def _listen_once(self) -> None:
        conn = await self._connect()
        gone = asyncio.Event()
        conn.add_termination_listener(lambda _conn: gone.set())
        try:
            await conn.add_listener(channel(self.plan.consumer), self._notified)
            self.claims.all_pending()  # whatever was sent before we listened
            self.look()
            while not gone.is_set():
                try:
                    async with asyncio.timeout(30):
                        await gone.wait()
                except TimeoutError:
                    await conn.execute("SELECT 1")  # a silent peer is found out by its missing answer
        finally:
            conn.terminate()

    def _notified(self, _conn: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            self.claims.woken(Wake.parse(str(payload)))
        except ValueError:
            _log.warning("A wake-up could not be read; everything is looked through instead.")
            self.claims.all_pending()
        self.look()

    async def _rest(self) -> None:
        pause = min(self.claims.until_sweep(), max(0.0, self._due_at - self._clock.monotonic()))
        try:
            async with asyncio.timeout(pause):
                await self._first.wake.wait()
        except TimeoutError:
            return

    async def _round(self) -> None:
        if self._halted:
            return
        if self.claims.sweep_due():
            started = self._clock.monotonic()
            self.claims.start_sweep()
            try:
                await self._look_over()
                self._excess.wake.set()
                await self._claim_pending(self._first)
            finally:
                self.claims.swept(self._clock.monotonic() - started)
        else:
            await self._claim_pending(self._first)
        if self._clock.monotonic() >= self._due_at:
            await self._move_due()

    async def _claim_excess(self) -> None:
        if not self._halted:
            await self._claim_pending(self._excess)

    async def _look_over(self) -> None:
        """Asks where there are rows at all: an idle consumer asks once a source, not once a lane."""
        async with connection(self._pool, self._timeout) as conn:
            for source in self._sources:
                lanes = await claim_store.occupied(conn, source, self.plan.consumer, tuple(Lane))
                self.claims.nothing_beside(source, lanes)

    def _left(self, loop: _Loop) -> bool:
        """Whether there may be more, and room for it."""
        return any(spot.pending and self._wants(spot.lane) for spot in loop.spots)

    def _wants(self, lane: Lane) -> bool:
        return self._room(lane) * 2 >= self._batch

    async def _claim_pending(self, loop: _Loop) -> None:
        for spot in loop.spots:
            if spot.pending and self._wants(spot.lane):
                await self._claim(spot)

    async def _claim(self, spot: Spot) -> None:
        limit = min(self._batch, self._room(spot.lane))
        started, after = self._clock.monotonic(), self.claims.begin(spot)
        try:
            async with connection(self._pool, self._timeout) as conn:
                claimed = await claim_store.claim(
                    conn, spot.source, self.plan, lane=spot.lane, after=after, limit=limit
                )
        finally:
            if after == FIRST_ID and spot.lane in _EXCESS:
                self.claims.swept_beside(self._clock.monotonic() - started)
        self.claims.found(spot, [c.message.id for c in claimed], full=len(claimed) == limit)
        if claimed:
            metrics.CLAIMED.labels(self.plan.consumer, "ready").inc(len(claimed))
            self._deliver(claimed)

    async def _move_due(self) -> None:
        lanes = [lane for lane in Lane if self._room(lane) > 0]
        limit, moved = min(self._batch, max(map(self._room, lanes), default=1)), 0
        async with connection(self._pool, self._timeout) as conn:
            wait = await claim_store.next_due(conn, self.plan.consumer, self._sources, lanes)
            if wait is not None and wait <= 0:
                for source in self._sources:
                    due = await claim_store.move_due(conn, source, self.plan, lanes, limit)
                    metrics.CLAIMED.labels(self.plan.consumer, "due").inc(len(due))
                    if due:
                        await self._faults.reach("moved due, not started")
                    self._deliver(due)
                    moved += len(due)
                wait = await claim_store.next_due(conn, self.plan.consumer, self._sources, lanes)
        # What is overdue and was not moved is in another consumer's hands just now.
        least = 0.0 if moved else _LEAST_PAUSE_SECONDS
        pause = _LOOK_DUE_SECONDS if wait is None else min(_LOOK_DUE_SECONDS, max(least, wait))
        self._due_at = self._clock.monotonic() + pause
