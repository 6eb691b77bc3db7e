"""Accepts messages of one source: committed first, then on their way by the best route there is."""

import os
import secrets
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from libs.common.clock import Clock, SystemClock
from libs.common.contracts.envelope import Draft, Message, Receipt
from libs.common.contracts.topology import EXTERNAL, ExternalDestination, Lane, external_names, route_for
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.ids import IdFactory
from libs.common.outbox import metrics, put_store
from libs.common.outbox.broker_route import BrokerRoute
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.group_commit import GroupCommit
from libs.common.outbox.put_store import Outgoing
from libs.common.outbox.relay import Relay
from libs.common.outbox.shares import ShopShares
from libs.common.outbox.wakes import Notifier
from libs.common.settings import CommonSettings


def instance_name() -> str:
    """A name no other process has: the process id for people, random bits for certainty."""
    return f"{os.getpid()}-{secrets.token_hex(6)}"


class Producer:
    """One per process and source. Without a broker route every row is ready for Postgres' consumers at once."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        source: str,
        settings: CommonSettings,
        *,
        notifier: Notifier,
        broker: BrokerRoute | None = None,
        externals: Sequence[ExternalDestination] = EXTERNAL,
        clock: Clock | None = None,
        faults: FaultPoints | None = None,
    ) -> None:
        self.source = source
        self.broker = broker
        self.relay: Relay | None = None
        self._externals = externals
        self._pool, self._notifier = pool, notifier
        self._clock = clock or SystemClock()
        self._faults = faults or FaultPoints()
        self._ids = IdFactory(self._clock)
        self._name = instance_name()
        self._timeout = settings.database_timeout_seconds
        self._lease = settings.broker_lease_seconds
        self._shares = ShopShares(
            self._clock, rate=settings.shop_share_per_second, burst=settings.shop_share_burst
        )
        self._commits = GroupCommit(self._commit, size=lambda draft: len(draft.body))

    async def accept(self, draft: Draft) -> Receipt:
        """Commits a message, together with others that arrive meanwhile, and sends it on its way.

        Returns the first acceptance's id when the draft's (shop, key) was accepted before. Raises `DatabaseAway`
        when Postgres could not say that it is committed; the same draft may then be tried again.
        """
        receipt = await self._commits.submit(draft)
        await self._faults.reach("stored, not answered")
        return receipt

    async def put(self, conn: Connection, drafts: Sequence[Draft]) -> list[Outgoing]:
        """Stores messages inside the caller's transaction; pass the result to `sent` after its commit."""
        batch = self._addressed(drafts)
        new = await self._store(conn, batch)
        return [out for out in batch if out.id in new]

    def sent(self, batch: Sequence[Outgoing]) -> None:
        """The transaction of `put` has committed: publishes leased rows and wakes consumers for the others."""
        self._count(batch)
        handed: dict[tuple[str, Lane], list[Message]] = defaultdict(list)
        ready: dict[tuple[str, Lane], UUID] = {}  # the first of each: ids grow within a batch
        for out in batch:
            for destination in () if out.draft.delay else out.destinations:
                if out.leased:
                    handed[destination, out.lane].append(_message(self.source, out))
                else:
                    ready.setdefault((destination, out.lane), out.id)
        for (destination, lane), first in ready.items():
            self._notifier.ready(destination, lane, first)
        if self.relay is not None and any(out.external for out in batch):
            self.relay.look()
        for (destination, lane), messages in handed.items():
            assert self.broker is not None  # noqa: S101 - only the broker route leases
            self.broker.hand_over(destination, lane, messages)

    def _count(self, batch: Sequence[Outgoing]) -> None:
        leased = sum(out.leased for out in batch)
        for route, number in (("rabbitmq", leased), ("postgres", len(batch) - leased)):
            if number:
                metrics.ACCEPTED.labels(self.source, route).inc(number)

    async def close(self) -> None:
        """Waits for commits under way."""
        await self._commits.close()

    @property
    def _holder(self) -> str:
        return self.broker.holder if self.broker else ""

    def _addressed(self, drafts: Sequence[Draft]) -> list[Outgoing]:
        return [self._address(*pair) for pair in zip(drafts, self._ids.several(len(drafts)), strict=True)]

    def _address(self, draft: Draft, identifier: UUID) -> Outgoing:
        route = route_for(draft.type)
        lane = draft.lane or self._lane(draft, route.lane)
        leased = not draft.delay and self.broker is not None and self.broker.admits(route.destinations, lane)
        return Outgoing(
            identifier,
            draft,
            lane,
            route.destinations,
            leased,
            draft.time or self._clock.now(),
            external_names(draft.type, self._externals) if self._externals else (),
        )

    def _lane(self, draft: Draft, lane: Lane) -> Lane:
        if lane is not Lane.DEFAULT or not draft.shop or self._shares.take(draft.shop):
            return lane
        metrics.OVERFLOWED.labels(self.source).inc()
        return Lane.OVERFLOW

    async def _commit(self, drafts: Sequence[Draft]) -> Sequence[Receipt | Exception]:
        batch = self._addressed(drafts)
        await self._faults.reach("received, not stored")
        with database_away_named():
            return await self._write(batch)

    async def _write(self, batch: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        async with connection(self._pool, self._timeout) as conn:
            if any(out.draft.delay for out in batch):
                async with conn.transaction():
                    new = await self._store(conn, batch)
            else:  # one statement is one transaction
                new = await self._store(conn, batch)
            metrics.ACCEPT_BATCH.labels(self.source).observe(len(batch))
            await self._faults.reach("stored, not announced")
            if len(new) == len(batch):
                self.sent(batch)
                return [Receipt(out.id, duplicate=False) for out in batch]
            self.sent([out for out in batch if out.id in new])
            return await self._with_duplicates(conn, batch, new)

    async def _store(self, conn: Connection, batch: Sequence[Outgoing]) -> set[UUID]:
        new = await put_store.put(conn, self.source, batch, holder=self._holder, lease_seconds=self._lease)
        for out in batch:
            if out.draft.delay and out.id in new:
                await put_store.delay(conn, self.source, out)
        return new

    async def _with_duplicates(
        self, conn: Connection, batch: Sequence[Outgoing], new: set[UUID]
    ) -> list[Receipt | Exception]:
        repeated = [out.draft for out in batch if out.id not in new]
        ids = await put_store.known(conn, self.source, repeated)
        await put_store.count_duplicates(conn, self.source, self._name, len(repeated))
        metrics.DUPLICATES.labels(self.source).inc(len(repeated))
        return [
            Receipt(out.id, duplicate=False)
            if out.id in new
            else _duplicate(ids.get((out.draft.key, out.draft.shop)))
            for out in batch
        ]


def _duplicate(known: UUID | None) -> Receipt | DatabaseAway:
    if known is None:  # the first one's time ran out between two statements
        return DatabaseAway("the first acceptance of this message has just expired; send it once more")
    return Receipt(known, duplicate=True)


def _message(source: str, out: Outgoing) -> Message:
    draft = out.draft
    return Message(
        id=out.id, type=draft.type, source=source, shop=draft.shop, time=out.time, body=draft.body,
        subject=draft.subject, dataschema=draft.dataschema, content_type=draft.content_type,
        traceparent=draft.traceparent, correlation_id=draft.correlation_id,
    )  # fmt: skip
