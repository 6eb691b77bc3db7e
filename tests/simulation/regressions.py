"""Schedules that once broke a promise, each with what it found and with the way to bring its bug back.

A change of the code moves every random choice, so a schedule is run with several seeds. With the bug brought back one
of them has to fail: so the schedule still leads where it led.
"""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import asyncpg

from libs.common import db
from libs.common.db import HonestConnection
from tests.simulation import sql_end
from tests.simulation.database_heap import Steps, Table, Transaction, Values
from tests.simulation.schedule import Schedule, Step

SEEDS = range(8)


@dataclass(frozen=True, slots=True)
class Regression:
    """What once went wrong."""

    story: str
    rule: str  # that was broken
    steps: tuple[Step, ...]
    bring_back: Callable[[ExitStack], None]
    profile: str = "calm"

    def schedules(self) -> list[Schedule]:
        return [Schedule(seed, self.profile, list(self.steps)) for seed in SEEDS]


def _begin_waits(undo: ExitStack) -> None:
    """BEGIN had no deadline of its own, and a handler's connection has none for its statements."""
    honest = HonestConnection.execute

    async def execute(self: HonestConnection, query: str, *args: object, timeout: float | None = None) -> str:
        if query.startswith("BEGIN"):
            tag: str = await asyncpg.Connection.execute(self, query, *args, timeout=timeout)
            return tag
        return await honest(self, query, *args, timeout=timeout)

    undo.enter_context(patch.object(HonestConnection, "execute", execute))


def _any_attempt_moves(undo: ExitStack) -> None:
    """SCHEDULE and FAIL moved a row whatever attempt it was at."""

    def deleted(table: Table, tx: Transaction, _: int, *key: Any) -> Steps[Values | None]:
        return sql_end._deleted(table, tx, *key)

    undo.enter_context(patch.object(sql_end, "_deleted_at", deleted))


def _release_speaks_over_cancellation(undo: ExitStack) -> None:
    """What went wrong in giving a connection back took the place of the error inside, or of a cancellation."""
    undo.enter_context(patch.object(db, "suppress", lambda *_: nullcontext()))


REGRESSIONS = (
    Regression(
        "A pooled connection had gone silent. The handler that got it waited in BEGIN for all of its own timeout, "
        "which then counted as the handler's failure: an outage of Postgres used up an attempt.",
        "attempt_used_up",
        (
            ("advance", 0.5), ("accept", "chaos/plain", 0, 6), ("advance", 0.5), ("database_silence", "worker0"),
            ("database_silence", "worker1"), ("accept", "chaos/plain", 0, 6),
        ),
        _begin_waits,
    ),
    Regression(
        "A confirm was lost, so a message was freed and claimed, failed, came back as attempt 2, and its worker stood "
        "still. Now another worker was brought RabbitMQ's copy, ran it as attempt 1, and that failure counted, too.",
        "attempt_used_up",
        (
            ("advance", 0.5), ("reach", "worker1", "refused"), ("reach", "worker0", "silent"),
            ("freeze_at", "worker1", "moved due, not started", 1), ("publishes", "webhooks", "cut after"),
            ("accept", "chaos/again", 0, 3), ("accept", "chaos/again", 1, 3), ("advance", 1.4),
            ("reach", "worker0", "open"), ("advance", 0.5),
        ),
        _any_attempt_moves,
    ),
    Regression(
        "A service was told to stop while Postgres was silent. Its task that frees leases was cancelled in a "
        "statement; giving the connection back then timed out, and the timeout, taken for Postgres' absence, "
        "swallowed the cancellation: the service never ended.",
        "never_accepted",
        (
            ("advance", 0.5), ("accept", "chaos/plain", 0, 4), ("advance", 0.2), ("accept", "chaos/plain", 0, 4),
            ("crash_broker",), ("advance", 0.01), ("database_silence", "webhooks"), ("stop", "webhooks"),
            ("advance", 0.5), ("accept", "chaos/plain"),
        ),
        _release_speaks_over_cancellation,
    ),
)  # fmt: skip
