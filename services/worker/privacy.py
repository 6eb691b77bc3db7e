"""Puts the worker's side of privacy together: the cases, its own step, the gauges, and what handlers never see."""

from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.privacy import (
    COLLECT_DONE,
    CUSTOMER_REDACT,
    DATA_REQUEST,
    ERASE_DONE,
    ERASED,
    SHOP_REDACT,
)
from libs.common.db import connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox.faults import FaultPoints
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.steps import Steps
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from libs.common.runtime.outcomes import Cancelled
from services.worker import cases_store, metrics
from services.worker.browsers import Browsers
from services.worker.cases import KINDS, Cases
from services.worker.config import Settings
from services.worker.privacy_store import HOLDINGS
from services.worker.service import Books

_log = structlog.get_logger(__name__)

GAUGES_SECONDS = 15.0
_LOOK_SECONDS = 3600.0  # for browsers among a busy shop's events
EXPORT_DAYS = 7  # how long a file can be fetched again after it was given


@dataclass(frozen=True, slots=True)
class Privacy:
    """What app.py needs of it."""

    cases: Cases
    steps: Steps
    pool: asyncpg.Pool
    clock: Clock
    timeout: float

    def registry(self, handlers: Registry) -> Registry:
        """These handlers, kept from payloads that were erased, and those of privacy."""
        kept = [replace(handler, function=_spared(handler)) for handler in handlers.handlers]
        return Registry([*kept, *self._own(), *self.steps.handlers()])

    def _own(self) -> list[Handler]:
        requests, answers = (DATA_REQUEST, CUSTOMER_REDACT, SHOP_REDACT), (ERASE_DONE, COLLECT_DONE)
        return [
            Handler("privacy.open_case", self.cases.open, requests, retries=30),
            Handler(
                "privacy.take_in_answer", self.cases.answered, answers, retries=30, timeout=_LOOK_SECONDS
            ),
        ]

    async def keep_house(self) -> None:
        """Keeps the gauges current and deletes files that were given, until cancelled."""
        while True:
            try:
                await self._tidy()
            except DatabaseAway:
                _log.info("Privacy gauges wait for Postgres.")
            await self.clock.sleep(GAUGES_SECONDS)

    async def _tidy(self) -> None:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                await cases_store.purge(conn, EXPORT_DAYS)
                shown = await cases_store.gauges(conn)
        for kind in KINDS.values():
            number, oldest = shown.get(kind, (0, 0.0))
            metrics.PRIVACY_OPEN.labels(kind).set(number)
            metrics.PRIVACY_OLDEST.labels(kind).set(oldest)


def open_privacy(settings: Settings, pool: asyncpg.Pool, clock: Clock, faults: FaultPoints | None) -> Privacy:
    """Raises `ConfigurationError` for a SERVICE_KEY that could be guessed."""
    keys, timeout = PrivacyKeys(settings.service_key), settings.database_timeout_seconds
    steps = Steps(
        HOLDINGS,
        pool,
        keys,
        clock,
        timeout,
        settings.retention_days,
        grace=0.0,
        faults=faults or FaultPoints(),
    )
    return Privacy(Cases(keys, clock, Browsers(Books(pool, clock, timeout))), steps, pool, clock, timeout)


def _spared(handler: Handler) -> Any:
    """The handler's function, which is not called with a payload that was erased: such a message ends as cancelled."""

    async def one(message: Message, ctx: Context) -> None:
        if message.body == ERASED:
            raise Cancelled("its payload was erased")
        await handler.function(message, ctx)

    async def many(messages: list[Message], ctx: Context) -> None:
        if any(message.body == ERASED for message in messages):
            raise Cancelled("its payload was erased")  # each is tried alone then
        await handler.function(messages, ctx)

    return many if handler.takes_list else one
