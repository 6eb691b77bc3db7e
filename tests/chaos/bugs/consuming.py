"""Bugs of taking messages in hand, and of counting how often that was done."""

from collections.abc import Coroutine
from typing import Any

from libs.common.bus.deliveries import IncomingWork
from libs.common.outbox import claim_store
from libs.common.outbox.wakes import Wake
from libs.common.runtime import executor
from libs.common.runtime.arrivals import Arrivals
from libs.common.runtime.claims import Claims
from libs.common.runtime.dispatcher import Dispatcher
from libs.common.runtime.endings import Result
from libs.common.runtime.executor import Executor
from libs.common.runtime.handlers import Handler
from libs.common.runtime.work import Delivery
from tests.chaos.bugs.bug import Bug
from tests.chaos.bugs.patches import replaced, rewritten

LEASE_ENDED = """(leased_until IS NULL
               OR leased_until < now() + CASE WHEN holder LIKE 'broker:%' THEN $7::interval ELSE '0' END)"""
CLAIM_COUNTS = "deliveries = least(deliveries + 1, 1000)"
TAKE_OVER_COUNTS = "deliveries = least(deliveries + $6::int, 1000)"


def _lease_ignored() -> None:
    rewritten(claim_store, "CLAIM", LEASE_ENDED, "$7::interval IS NOT NULL")


def _acknowledged_before_commit() -> None:
    take = Arrivals.from_rabbitmq

    def acknowledge_and_take(self: Arrivals, work: IncomingWork) -> None:
        work.ack()
        take(self, work)

    replaced(Arrivals, from_rabbitmq=acknowledge_and_take)


def _claims_as_a_cursor() -> None:
    """What becomes claimable behind the place where claims look is never looked for."""

    def start_sweep(self: Claims) -> None:
        for spot in self.spots:
            spot.pending = True

    def woken(self: Claims, wake: Wake) -> None:
        for spot in self.spots:
            if (spot.source, spot.lane) == (wake.source, wake.lane):
                spot.pending = True

    replaced(Claims, start_sweep=start_sweep, woken=woken)


def _limit_of_each_process_alone() -> None:
    """The gates of a process hold; that it has to ask Postgres for a slot is forgotten."""

    async def unlimited(self: Executor, handler: Handler, delivery: Delivery) -> Result:
        return await self._one(handler, delivery)

    replaced(Executor, _limited=unlimited)


def _lost_lock_not_noticed() -> None:
    """A handler goes on under a lock whose session may have ended."""

    def unfenced(work: Coroutine[Any, Any, None], _: object) -> Coroutine[Any, Any, None]:
        return work

    def unheard(_: Dispatcher) -> None:
        """A process that wakes late hears of it at once, and would stop what runs."""

    replaced(executor, Fenced=unfenced)
    replaced(Dispatcher, limits_lost=unheard)


def _deliveries_not_counted() -> None:
    rewritten(claim_store, "CLAIM", CLAIM_COUNTS, "deliveries = deliveries")
    rewritten(claim_store, "TAKE_OVER", TAKE_OVER_COUNTS, "deliveries = deliveries + 0 * $6::int")


def _redelivery_taken_for_a_failure() -> None:
    rewritten(claim_store, "TAKE_OVER", TAKE_OVER_COUNTS, f"{TAKE_OVER_COUNTS}, attempt = attempt + $6::int")


def _attempts_lost_with_their_worker() -> None:
    lost = f"{CLAIM_COUNTS}, attempt = CASE WHEN deliveries = 0 THEN attempt ELSE 0 END"
    rewritten(claim_store, "CLAIM", CLAIM_COUNTS, lost)


CONSUMING = (
    Bug(
        "lease ignored", ("worker",), _lease_ignored,
        provoke="nothing is broken", expected_rules=frozenset({"worked_twice"}),
    ),
    Bug(
        "acknowledged before the commit", ("worker",), _acknowledged_before_commit,
        provoke="worker killed with much in hand", expected_rules=frozenset({"left_over"}),
        drain_seconds=5.0,
    ),
    Bug(
        "claims as a cursor without a sweep", ("worker",), _claims_as_a_cursor,
        provoke="worker killed with retries in hand", expected_rules=frozenset({"left_over"}),
        drain_seconds=8.0,
    ),
    Bug(
        "per_shop kept by each process alone", ("worker",), _limit_of_each_process_alone,
        provoke="nothing is broken", expected_rules=frozenset({"limit_exceeded"}),
    ),
    Bug(
        "lost lock not noticed", ("worker",), _lost_lock_not_noticed,
        provoke="worker frozen while it loses its locks", expected_rules=frozenset({"limit_exceeded"}),
    ),
    Bug(
        "deliveries not counted", ("worker",), _deliveries_not_counted,
        provoke="a poison message", expected_rules=frozenset({"started_too_often"}),
        drain_seconds=1.0,
    ),
    Bug(
        "redelivery taken for a failed attempt", ("worker",), _redelivery_taken_for_a_failure,
        provoke="worker killed before it commits", expected_rules=frozenset({"attempt_used_up"}),
    ),
    Bug(
        "attempts lost with their worker", ("worker",), _attempts_lost_with_their_worker,
        provoke="worker killed with retries in hand", expected_rules=frozenset({"attempt_used_up"}),
    ),
)  # fmt: skip
