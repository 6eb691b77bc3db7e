"""Seeded bugs: the protocol broken in a known way, to see that the simulation finds it, and in how many schedules."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any
from unittest.mock import patch
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from libs.common.outbox import claim_store, end_store, put_store
from tests.chaos.bugs import BUGS, consuming, ending, producing
from tests.chaos.checker import Violation
from tests.simulation import sql_claim, sql_end, sql_put
from tests.simulation.amqp import SimPublisher
from tests.simulation.database_heap import Steps, Table, Transaction
from tests.simulation.machine import BrokenPromises, Machine
from tests.simulation.schedule import Schedule, Step
from tests.simulation.sql import NOTHING, Answer, Places
from tests.simulation.world import WORKERS

Undo = ExitStack


Bend = Callable[[Step], Step | None]


@dataclass(frozen=True, slots=True)
class Hunt:
    """Where to look for a bug, and what has to be seen of it."""

    bug: str  # one of tests/chaos/bugs
    rules: frozenset[str]  # one of these has to be broken
    bend: Bend = lambda step: step  # the steps that may help; those of the other kinds are wasted
    late_after: float | None = None  # seconds; for bugs whose damage the protocol mends, but late
    model: Callable[[Undo], None] | None = None  # what the bug does to the database model


_TRAFFIC = {"accept", "repeat", "advance"}
_TRAPS = {"kill_at", "freeze_at", "database_fault", "kill", "start"}


def _traffic(step: Step) -> Step | None:
    return step if step[0] in _TRAFFIC else None


def _trapped(step: Step) -> Step | None:
    return step if step[0] in _TRAFFIC | _TRAPS else None


def _chains_trapped(step: Step) -> Step | None:
    return ("accept", "chaos/chain", *step[2:]) if step[0] == "accept" else _trapped(step)


def _storing_trapped(step: Step) -> Step | None:
    if step[0] == "database_fault":
        return ("database_fault", "webhooks", step[2], "PUT", 1, "lost")
    return step if step[0] in _TRAFFIC else None


def _plain(step: Step) -> Step | None:
    """Messages that are done at once, so that one which is late shows."""
    return ("accept", "chaos/plain", *step[2:]) if step[0] == "accept" else _traffic(step)


def _queue_deleted(step: Step) -> Step | None:
    return step if step[0] == "delete_queue" else _plain(step)


def _killed_in_transactions(step: Step) -> Step | None:
    if step[0] in _TRAPS and step[1] in WORKERS:
        return ("kill_at", step[1], "handler done, not committed", 1)
    return _plain(step)


def _no_leases(undo: Undo) -> None:
    undo.enter_context(patch.dict(sql_claim.STATEMENTS, CLAIM=(claim_store.CLAIM, _claim_anything)))


def _claim_anything(
    places: Places, tx: Transaction, destination: str, lane: str, after: UUID, limit: int, holder: str,
    lease: timedelta, _: timedelta,
) -> Answer:  # fmt: skip
    rows = sql_claim._in_lane(places, tx, destination, lane)
    free = (entry for entry in rows if entry[1]["id"] > after and tx.try_lock(entry[0]))
    taken = [
        tx.update(row, holder=holder, leased_until=tx.now + lease, deliveries=values["deliveries"] + 1)
        for row, values in islice(free, limit)
    ]
    return sql_claim._with_messages(places, tx, taken)


def _no_key(undo: Undo) -> None:
    undo.enter_context(patch.dict(sql_put.STATEMENTS, PUT=(put_store.PUT, sql_put.put)))
    honest = Table.rival

    def rival(self: Table, *arguments: Any) -> Any:
        found = honest(self, *arguments)
        return None if found is not None and found[0] == sql_put.KEY else found

    undo.enter_context(patch.object(Table, "rival", rival))


def _end_without_row(undo: Undo) -> None:
    undo.enter_context(patch.dict(sql_end.STATEMENTS, END_ONE=(end_store.END_ONE, _end_anyway)))


def _end_anyway(
    places: Places, tx: Transaction, destination: str, lane: str, message_id: UUID, source: str, *said: Any
) -> Steps[Answer]:
    gone = yield from sql_end._deleted(places.outbox, tx, destination, lane, message_id)
    there = {"id": message_id, "attempt": 0, "log": None, "lane": lane} if gone is None else gone
    new = yield from tx.insert_new(
        places.history, sql_end._history(places, there, source, said), ("message_id",)
    )
    return [sql_end._MessageId((message_id,))] if new else NOTHING


def _returned_unnoticed(undo: Undo) -> None:
    honest = SimPublisher.publish

    async def publish(self: SimPublisher, *arguments: Any) -> None:
        await honest(self, *arguments, mandatory=False)

    undo.enter_context(patch.object(SimPublisher, "publish", publish))


HUNTS = (
    Hunt("published before the commit", frozenset({"ran_unasked"}), _trapped),
    Hunt("failed commit taken for success", frozenset({"not_stored"}), _storing_trapped),
    Hunt("duplicates found by check, then insert", frozenset({"two_ids"}), _traffic, model=_no_key),
    Hunt("deleted on confirm", frozenset({"lost"}), model=_end_without_row),
    Hunt(
        "returned message taken for success", frozenset({"left_over"}), _queue_deleted,
        late_after=3.0, model=_returned_unnoticed,
    ),
    Hunt("lease ignored", frozenset({"worked_twice"}), _traffic, model=_no_leases),
    Hunt("acknowledged before the commit", frozenset({"left_over"}), _killed_in_transactions, late_after=11.0),
    Hunt("missing row not noticed", frozenset({"doubled"})),
    Hunt("effect in a transaction of its own", frozenset({"doubled"}), _trapped),
    Hunt("emitted in a transaction of its own", frozenset({"emitted", "unasked"}), _chains_trapped),
    Hunt("outage taken for a failed attempt", frozenset({"attempt_used_up"}), _trapped),
    Hunt("per_shop kept by each process alone", frozenset({"limit_exceeded"}), _traffic),
)  # fmt: skip


@contextmanager
def broken(hunt: Hunt) -> Iterator[None]:
    """The protocol with a bug in it."""
    with ExitStack() as undo:
        for module in (producing, consuming, ending):
            undo.enter_context(patch.object(module, "replaced", partial(_replaced, undo)))
            undo.enter_context(patch.object(module, "rewritten", partial(_rewritten, undo), create=True))
        BUGS[hunt.bug].apply()
        if hunt.model is not None:
            hunt.model(undo)
        yield


def _replaced(undo: Undo, owner: object, **parts: Any) -> None:
    for name, part in parts.items():
        undo.enter_context(patch.object(owner, name, part))


def _rewritten(undo: Undo, module: object, name: str, old: str, new: str) -> None:
    undo.enter_context(patch.object(module, name, getattr(module, name).replace(old, new)))


def found_after(hunt: Hunt, most: int) -> int | None:
    """How many schedules it takes to see the wanted; None if all of them look well."""

    class Hunting(Machine):
        drain_seconds = hunt.late_after or Machine.drain_seconds
        profile = "long leases" if hunt.late_after else None

        def bend(self, step: Step) -> Step | None:
            return hunt.bend(step)

        def judge(self, broken: Sequence[Violation], schedule: Schedule) -> None:
            if hunt.rules & {violation.rule for violation in broken}:
                super().judge(broken, schedule)

    before = Machine.judged
    try:
        run_state_machine_as_test(Hunting, settings=_settings(most))
    except BrokenPromises:
        return Machine.judged - before
    return None


def _settings(most: int) -> settings:
    return settings(
        max_examples=most, stateful_step_count=20, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
