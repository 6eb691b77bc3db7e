"""Brings messages to other programs' queues: single CloudEvents on the exchange, and the row ends at the confirm.

Such a row is never leased to RabbitMQ. It stands in the outbox, claimed by whichever producer process is first, until
RabbitMQ confirms it; so an outage only makes it wait. The program gets it at least once.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import structlog

from libs.common.bus.packing import encode_single
from libs.common.clock import Clock
from libs.common.contracts.topology import ExternalDestination, Lane
from libs.common.db import connection, database_away_named
from libs.common.errors import BrokerAway, DatabaseAway
from libs.common.outbox import claim_store, metrics, put_store
from libs.common.outbox.broker_route import BrokerRoute
from libs.common.outbox.circuit import State
from libs.common.outbox.claim_store import FIRST_ID, Claimed, ClaimPlan
from libs.common.outbox.faults import FaultPoints

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0  # how late a row is found whose wake-up was lost
_LEASE_SECONDS = 10.0  # how long a row waits after a failure, and is left alone by other processes before
_AT_ONCE = 50


class Relay:
    """Publishes one source's rows for destinations outside."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        route: BrokerRoute,
        externals: Sequence[ExternalDestination],
        *,
        source: str,
        holder: str,
        clock: Clock,
        timeout: float,
        faults: FaultPoints | None = None,
    ) -> None:
        self._pool, self._route, self._source = pool, route, source
        self._plans = [ClaimPlan(external.name, holder, _LEASE_SECONDS) for external in externals]
        self._clock, self._timeout = clock, timeout
        self._faults = faults or FaultPoints()
        self._some = asyncio.Event()

    def look(self) -> None:
        """Rows for somebody outside were committed."""
        self._some.set()

    async def run(self) -> None:
        """Publishes until cancelled; rests while RabbitMQ is not trusted or Postgres is away."""
        while True:
            self._some.clear()
            moved = 0
            if self._route.circuit.state is not State.OPEN:
                try:
                    moved = await self._round()
                except DatabaseAway:
                    moved = 0
            if not moved:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._some.wait()
        except TimeoutError:
            return

    async def _round(self) -> int:
        return sum([await self._bring(plan, lane) for plan in self._plans for lane in Lane])

    async def _bring(self, plan: ClaimPlan, lane: Lane) -> int:
        with database_away_named():
            async with connection(self._pool, self._timeout) as conn:
                claimed = await claim_store.claim(
                    conn, self._source, plan, lane=lane, after=FIRST_ID, limit=_AT_ONCE
                )
            if claimed:
                await self._faults.reach("claimed, not relayed")
            sent = await asyncio.gather(*(self._publish(plan, one) for one in claimed))
            ended = [one.message.id for one, confirmed in zip(claimed, sent, strict=True) if confirmed]
            if ended:
                await self._faults.reach("relayed, not ended")
                async with connection(self._pool, self._timeout) as conn:
                    await put_store.end_external(conn, self._source, plan.consumer, lane, ended)
        metrics.RELAYED.labels(self._source, plan.consumer).inc(len(ended))
        return len(ended)

    async def _publish(self, plan: ClaimPlan, one: Claimed) -> bool:
        try:
            await self._route.publisher.publish(one.message.type, encode_single(one.message))
        except BrokerAway as error:
            metrics.PUBLISH_FAILURES.labels(self._source, str(getattr(error, "cause", "connection"))).inc()
            _log.warning(
                "A message for another program was not taken; it is tried again.",
                destination=plan.consumer, message_id=str(one.message.id), type=one.message.type, error=str(error),
            )  # fmt: skip
            return False
        return True
