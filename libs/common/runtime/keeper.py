"""Keeps leases of what is in hand, gives back what is not worked on, and says when Postgres is back."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import UUID

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.topology import Lane
from libs.common.db import connection, is_away
from libs.common.errors import DatabaseAway
from libs.common.outbox import claim_store, put_store
from libs.common.outbox.claim_store import ClaimPlan
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.wakes import Wake, channel
from libs.common.runtime import metrics
from libs.common.runtime.work import Delivery, Hands

_log = structlog.get_logger(__name__)
_MOST_OWED = 20_000  # give-backs that wait for Postgres; beyond it a lease simply ends by itself
_AWAY_SECONDS = 0.2

Place = tuple[str, Lane]


class Keeper:
    """The housekeeping of a consumer."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        plan: Callable[[], ClaimPlan],
        hands: Hands,
        clock: Clock,
        *,
        timeout: float = 3.0,
        faults: FaultPoints | None = None,
    ) -> None:
        self.database_back = asyncio.Event()
        self.database_back.set()
        self._pool, self._plan, self._hands = pool, plan, hands
        self._clock, self._timeout = clock, timeout
        self._faults = faults or FaultPoints()
        self._owed: dict[tuple[str, Lane, bool], set[UUID]] = defaultdict(set)
        self._owing = asyncio.Event()
        self._turn = asyncio.Lock()

    async def renew_for_ever(self) -> None:
        """The heartbeat: extends every lease in hand before it runs out."""
        every = self._plan().lease_seconds / 4
        while True:
            await self._clock.sleep(every)
            try:
                async with self._turn:  # not while rows are given back, which it would lease again
                    await self._renew()
            except Exception as error:
                if not is_away(error):
                    raise
                self.database_lost()

    async def _renew(self) -> None:
        plan, now = self._plan(), self._clock.monotonic()
        soon = now + plan.lease_seconds / 2
        ending = [delivery for delivery in self._hands if delivery.lease_ends < soon]
        if not ending:
            return
        await self._faults.reach("lease ending, not renewed")
        async with connection(self._pool, self._timeout) as conn:
            for (source, lane), deliveries in _by_place(ending).items():
                await claim_store.renew(conn, source, plan, lane, [d.message.id for d in deliveries])
                for delivery in deliveries:
                    delivery.lease_ends = now + plan.lease_seconds

    def give_back(self, deliveries: Iterable[Delivery], reason: str, *, unharmed: bool = True) -> None:
        """Their leases end as soon as Postgres takes it; returns at once."""
        for delivery in deliveries:
            metrics.GIVEN_BACK.labels(self._plan().consumer, reason).inc()
            self._owed[delivery.message.source, delivery.lane, unharmed].add(delivery.message.id)
        if sum(map(len, self._owed.values())) > _MOST_OWED:
            self._owed.clear()
        self._owing.set()

    async def pay_for_ever(self) -> None:
        """Gives back what is owed, and watches for Postgres while it is away."""
        while True:
            if self.database_back.is_set():
                await self._owing.wait()
            if not self.database_back.is_set():
                await self._clock.sleep(_AWAY_SECONDS)  # also where some connections work and others do not
            await self.pay()

    async def pay(self) -> bool:
        """Gives back what is owed; False if Postgres is away."""
        async with self._turn:
            return await self._pay()

    async def _pay(self) -> bool:
        self._owing.clear()
        owed, self._owed = self._owed, defaultdict(set)
        plan = self._plan()
        try:
            async with connection(self._pool, self._timeout) as conn:
                if not await claim_store.writable(conn):
                    raise DatabaseAway("Postgres answers but takes no writes")  # noqa: TRY301
                if not self.database_back.is_set():
                    await claim_store.find_room(conn)
                for (source, lane, unharmed), ids in list(owed.items()):
                    await self._faults.reach("owed, not given back")
                    await claim_store.give_back(conn, source, plan, lane, sorted(ids), unharmed=unharmed)
                    await self._faults.reach("given back, not announced")
                    wake = Wake(source, lane, min(ids)).payload()
                    await put_store.notify(conn, [(channel(plan.consumer), wake)])
                    del owed[source, lane, unharmed]
        except Exception as error:
            if not is_away(error):
                raise
            for place, ids in owed.items():
                self._owed[place] |= ids
            self._owing.set()
            self.database_lost()
            return False
        self._back()
        return True

    def database_lost(self) -> None:
        """Work waits until Postgres is back."""
        if self.database_back.is_set():
            _log.warning("Postgres is away; work waits for it.", service=self._plan().consumer)
            metrics.DATABASE_AWAY.labels(self._plan().consumer).set(1)
        self.database_back.clear()
        self._owing.set()

    def _back(self) -> None:
        if not self.database_back.is_set():
            _log.info("Postgres is back.", service=self._plan().consumer)
            metrics.DATABASE_AWAY.labels(self._plan().consumer).set(0)
            self.database_back.set()


def _by_place(deliveries: Iterable[Delivery]) -> dict[Place, list[Delivery]]:
    places: dict[Place, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        places[delivery.message.source, delivery.lane].append(delivery)
    return places
