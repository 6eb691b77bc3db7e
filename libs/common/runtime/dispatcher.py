"""Decides which message starts when, within one process, and what happens to it afterwards."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from libs.common.db import connection, is_away
from libs.common.outbox import claim_store
from libs.common.outbox.claim_store import ClaimPlan
from libs.common.outbox.faults import FaultPoints
from libs.common.runtime import metrics
from libs.common.runtime.endings import Endings, Result
from libs.common.runtime.executor import Executor
from libs.common.runtime.gates import Entry, GateKey, Gates
from libs.common.runtime.handlers import Handler, Registry
from libs.common.runtime.keeper import Keeper
from libs.common.runtime.ledger import Job, Ledger
from libs.common.runtime.watchdog import TASK_PREFIX
from libs.common.runtime.work import Delivery, Hands, LaneBuffers

_log = structlog.get_logger(__name__)

SUSPICIOUS = 3  # taken in hand so often without an end, a message is started alone
POISON = 3  # started alone so often without an end, it is given up
_SUSPECTS: GateKey = ("suspects", "")
_WAITING_PER_PLACE = 4  # messages of a busy shop that wait in memory for each place it has
_WAITING_SUSPECTS = 100_000  # all that can be in hand: one put aside would lose its marks

Results = dict[Delivery, Result]
Run = Coroutine[Any, Any, Results]


class Dispatcher:
    """Starts what is in the buffers as places get free."""

    def __init__(
        self,
        registry: Registry,
        pool: asyncpg.Pool,
        plan: Callable[[], ClaimPlan],
        hands: Hands,
        buffers: LaneBuffers,
        keeper: Keeper,
        executor: Executor,
        endings: Endings,
        clock: Clock,
        *,
        acquire_seconds: float,
        unhandled_group: int,
        room_made: Callable[[], None],
        faults: FaultPoints,
        heard: Callable[[Message], None] | None = None,
    ) -> None:
        self.stopping = False
        self._heard = heard
        self._registry, self._pool, self._plan = registry, pool, plan
        self._hands, self._buffers, self._keeper = hands, buffers, keeper
        self._executor, self._endings = executor, endings
        self._clock, self._faults = clock, faults
        self._acquire_seconds, self._unhandled_group = acquire_seconds, unhandled_group
        self._room_made = room_made
        self._gates = Gates(clock)
        self._ledger = Ledger(clock)
        self._running: dict[asyncio.Task[Results], Job] = {}
        self._inflight = metrics.INFLIGHT.labels(plan().consumer)  # looked up once: they are set for each job
        self._in_hand = metrics.IN_HAND.labels(plan().consumer)

    def waiting(self, lane: Lane) -> int:
        """Messages in hand that were not started."""
        return self._buffers.waiting(lane) + self._gates.waiting[lane]

    def pump(self) -> None:
        """Starts what can be started now."""
        while not self.stopping and self._keeper.database_back.is_set():
            lane = self._buffers.choose()
            if lane is None:
                break
            group = self._buffers.take(lane, self._most, self._alike)
            if self._heard is not None:
                for delivery in group:
                    self._heard(delivery.message)
            self._admit(lane, self._registry.find(group[0].message.type), group)
        self._room_made()

    async def pump_for_ever(self) -> None:
        """Starts again what waited for Postgres, once it is back."""
        while True:
            await self._keeper.database_back.wait()
            self.pump()
            await self._clock.sleep(0.1)

    async def finish(self, limit_seconds: float) -> None:
        """Starts nothing more and gives back what was not started; what runs may finish within the limit."""
        self.stopping = True
        unstarted = self._buffers.empty() + self._gates.empty()
        self._keeper.give_back(unstarted, "stopping")
        for delivery in unstarted:
            self._hands.drop(delivery)
        if self._running:
            await asyncio.wait(self._running, timeout=limit_seconds)
        for task in self._running:
            task.cancel()
        while self._running:
            await asyncio.wait(self._running)
            await asyncio.sleep(0)  # their callbacks run

    def limits_lost(self) -> None:
        """The per-shop locks are gone: what runs under them stops, so that no limit is exceeded."""
        for task, job in self._running.items():
            if job.handler is not None and job.handler.per_shop is not None:
                task.cancel()

    # starting

    def _most(self, first: Delivery) -> int:
        if first.deliveries >= SUSPICIOUS:
            return 1
        handler = self._registry.find(first.message.type)
        return self._unhandled_group if handler is None else handler.group

    def _alike(self, first: Delivery, other: Delivery) -> bool:
        return (
            other.deliveries < SUSPICIOUS
            and other.message.source == first.message.source
            and self._registry.find(other.message.type) is self._registry.find(first.message.type)
        )

    def _admit(self, lane: Lane, handler: Handler | None, group: list[Delivery]) -> None:
        gate, limit, most_waiting = _gate(handler, group[0])
        entry = Entry.GO
        if gate is not None:
            entry = self._gates.enter(gate, group[0], limit=limit, most_waiting=most_waiting)
        started = self._clock.monotonic()
        if entry is Entry.GO:
            run = (
                self._run_alone(handler, group[0])
                if gate == _SUSPECTS
                else self._executor.run(handler, group)
            )
            self._spawn(Job(lane, handler, group, gate, started), run)
        elif entry is Entry.FULL and gate is not None:
            park = self._park(group[0], self._gates.appointment(gate))
            self._spawn(Job(lane, handler, group, None, started), park)

    def _spawn(self, job: Job, run: Run) -> None:
        self._buffers.started(job.lane)
        task = asyncio.create_task(self._through(run), name=TASK_PREFIX + job.handler_name)
        self._running[task] = job
        task.add_done_callback(partial(self._ended, job, run))

    async def _through(self, run: Run) -> Results:
        await self._faults.reach("claimed, not started")
        results = await run
        await self._faults.reach("committed, not acknowledged")
        return results

    async def _park(self, delivery: Delivery, seconds: float) -> Results:
        return {delivery: await self._endings.park(delivery, seconds)}

    async def _run_alone(self, handler: Handler | None, delivery: Delivery) -> Results:
        """Starts a message whose earlier holders vanished: noted before, so that it cannot kill for ever."""
        message = delivery.message
        try:
            async with connection(self._pool, self._acquire_seconds) as conn:
                count = await claim_store.suspect(
                    conn, message.source, self._plan(), delivery.lane, message.id
                )
        except Exception as error:
            if not is_away(error):
                raise
            return {delivery: Result.RELEASED}
        if count is None:
            return {delivery: Result.DUPLICATE}
        if count > POISON:
            return {delivery: await self._endings.poisoned(handler, delivery)}
        await self._faults.reach("suspicion noted, not started")
        return await self._executor.run(handler, [delivery])

    # ending

    def _ended(self, job: Job, run: Run, task: "asyncio.Task[Results]") -> None:
        run.close()  # a task that was cancelled before its first step never started it
        del self._running[task]
        self._buffers.ended(job.lane)
        seconds = self._clock.monotonic() - job.started
        if job.gate is not None and (waiting := self._gates.leave(job.gate, seconds)) is not None:
            self._buffers.add(waiting, first=True)
        results = _results(job, task)
        self._give_back(results, cancelled=task.cancelled())
        for delivery in job.group:
            self._hands.drop(delivery)
        self._ledger.note(job, results)
        self._inflight.set(self._buffers.running)
        self._in_hand.set(len(self._hands))
        self.pump()

    def _give_back(self, results: Results, *, cancelled: bool) -> None:
        """What was cut short counts against a message, since that may be its doing; what never began does not."""
        released, interrupted = (
            [delivery for delivery, result in results.items() if result is what]
            for what in (Result.RELEASED, Result.INTERRUPTED)
        )
        if cancelled:
            self._keeper.give_back(
                released, "stopping" if self.stopping else "limit lost", unharmed=self.stopping
            )
        elif released or interrupted:
            self._keeper.give_back(released, "database away")
            self._keeper.give_back(interrupted, "interrupted", unharmed=False)
            self._keeper.database_lost()


def _gate(handler: Handler | None, first: Delivery) -> tuple[GateKey | None, int, int]:
    if first.deliveries >= SUSPICIOUS:
        return _SUSPECTS, 1, _WAITING_SUSPECTS
    if handler is not None and handler.per_shop is not None and first.message.shop:
        return (handler.name, first.message.shop), handler.per_shop, handler.per_shop * _WAITING_PER_PLACE
    return None, 0, 0


def _results(job: Job, task: "asyncio.Task[Results]") -> Results:
    if task.cancelled():
        return dict.fromkeys(job.group, Result.RELEASED)
    if (error := task.exception()) is not None:
        _log.error("The runtime itself failed; the messages come back when their leases end.", exc_info=error)
        return {}
    return task.result()
