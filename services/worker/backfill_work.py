"""Takes steps of backfills for as long as the process lives, each under a lease.

Where a process dies, another one goes on once the lease is over.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from libs.common import logs
from libs.common.clock import Clock
from libs.common.contracts.envelope import InvalidBody, Message
from libs.common.errors import DatabaseAway
from libs.common.outbox.producer import instance_name
from libs.common.tasks import Part
from services.worker import backfill_store, backfill_upkeep_store, metrics
from services.worker.backfill_steps import Steps
from services.worker.backfill_store import ACTIVE, Backfill
from services.worker.service import Books

AT_ONCE = 4  # jobs of one process; each holds a connection to Postgres only while it writes
_GAUGES_SECONDS = 15.0
_FINISHED = "webhook.bulk_operations.finish"
_BACK = frozenset({"shop.installed", "token.rotated"})

_log = logs.logger("worker")


@dataclass(slots=True)
class Hints:
    """What came in that makes a look at a job worth while before its time."""

    operations: set[str] = field(default_factory=set)
    shops: set[str] = field(default_factory=set)

    def heard(self, message: Message) -> None:
        """Takes note of a message; called with each that comes in."""
        if message.type == _FINISHED:
            gid = _operation(message)
            if gid is not None:
                self.operations.add(gid)
        elif message.type in _BACK:
            self.shops.add(message.shop)


@dataclass(frozen=True, slots=True)
class Work:
    """One for a process."""

    steps: Steps
    books: Books
    clock: Clock
    kept_days: int  # after a job has ended
    lease: float
    idle: float
    hints: Hints = field(default_factory=Hints)
    _name: str = field(default_factory=instance_name)
    _numbers: Any = field(default_factory=count)
    _turns: set[asyncio.Task[None]] = field(default_factory=set)

    def parts(self) -> Mapping[str, Part]:
        """What has to run beside."""
        return {"backfills": self._run, "backfills' gauges": self._keep_house}

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._look()
                except DatabaseAway:
                    _log.info("Backfills wait for Postgres.")
                await self.clock.sleep(self.idle)
        finally:
            for turn in self._turns:
                turn.cancel()
            await asyncio.gather(*self._turns, return_exceptions=True)

    async def _look(self) -> None:
        await self._tell_hints()
        while len(self._turns) < AT_ONCE and (held := await self._claim()) is not None:
            turn = asyncio.create_task(self._turn(held), name=f"backfill {held.id}")
            self._turns.add(turn)
            turn.add_done_callback(self._turns.discard)

    async def _tell_hints(self) -> None:
        operations, shops = list(self.hints.operations), list(self.hints.shops)
        if operations or shops:
            async with self.books.open() as conn:
                await backfill_store.hint(conn, operations, shops)
            self.hints.operations.difference_update(operations)
            self.hints.shops.difference_update(shops)

    async def _claim(self) -> Backfill | None:
        """No two claims have the same name, so that whoever lost a job cannot be taken for who has it now."""
        async with self.books.open() as conn:
            return await backfill_store.claim(conn, f"{self._name}-{next(self._numbers)}", self.lease)

    async def _turn(self, held: Backfill) -> None:
        """Takes one step, for as long as the lease is ours."""
        step = asyncio.create_task(self._step(held))
        keeper = asyncio.create_task(self._keep(held))
        try:
            await asyncio.wait({step, keeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            step.cancel()
            keeper.cancel()
            await asyncio.gather(step, keeper, return_exceptions=True)
            await self._release(held)

    async def _step(self, held: Backfill) -> None:
        try:
            await self.steps.take(held)
        except DatabaseAway:
            _log.info("A step of a backfill waits for Postgres.", backfill=str(held.id))
        except Exception:  # noqa: BLE001 - not even that it failed could be kept; others may still be taken
            metrics.BACKFILL_FAILURES.labels("unforeseen").inc()
            _log.exception("A backfill's failure could not be kept.", backfill=str(held.id))
            await self.clock.sleep(self.lease)  # and not at once again

    async def _keep(self, held: Backfill) -> None:
        """Renews the lease; returns once it is lost, or the job is to be ended."""
        ours = True
        while ours:
            await self.clock.sleep(self.lease / 5)
            try:
                async with self.books.open() as conn:
                    ours = await backfill_store.renew(conn, held, self.lease)
            except DatabaseAway:
                continue  # nothing can be committed meanwhile, and what is committed later names the holder

    async def _release(self, held: Backfill) -> None:
        try:
            async with self.books.open() as conn:
                await backfill_store.release(conn, held)
        except DatabaseAway:
            _log.info("A backfill is free when its lease is over.", backfill=str(held.id))

    async def _keep_house(self) -> None:
        """Keeps the gauges current and deletes what ended long ago."""
        while True:
            try:
                async with self.books.open() as conn:
                    await backfill_upkeep_store.purge(conn, self.kept_days)
                    found = {row["status"]: row["number"] for row in await backfill_upkeep_store.counts(conn)}
                    metrics.BACKFILL_STILL.set(await backfill_upkeep_store.still(conn))
            except DatabaseAway:
                _log.info("The gauges of backfills wait for Postgres.")
            else:
                for status in ACTIVE:
                    metrics.BACKFILL_OPEN.labels(status).set(found.get(status, 0))
            await self.clock.sleep(_GAUGES_SECONDS)


def _operation(message: Message) -> str | None:
    try:
        facts = message.json()
    except InvalidBody:
        return None
    gid = facts.get("admin_graphql_api_id") if isinstance(facts, dict) else None
    return gid if isinstance(gid, str) else None
