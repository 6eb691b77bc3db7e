"""Keeps the gauges of the protocol's tables current. Every process that runs this shows the same numbers."""

from collections import Counter
from collections.abc import Sequence

import asyncpg
import structlog

from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox import gauge_store, metrics
from libs.common.outbox.gauge_store import LaneCounts
from libs.common.runtime import metrics as runtime_metrics

_log = structlog.get_logger(__name__)

EVERY_SECONDS = 5.0
MOST = 10_001  # rows that a count looks at: one more than what it can tell apart from "more"
REASONS = ("exhausted", "never", "poison")  # shown as 0 where there are none
_ACQUIRE_SECONDS = 3.0


async def gauges_loop(
    pool: asyncpg.Pool, sources: Sequence[str], consumers: Sequence[str], clock: Clock
) -> None:
    """Refreshes the gauges every few seconds until cancelled; what Postgres cannot answer in time stays as it was."""
    while True:
        try:
            await refresh(pool, sources, consumers)
        except DatabaseAway:
            metrics.GAUGES_LATE.inc()
        except asyncpg.PostgresError:  # refused, but no reason to stop working on messages
            metrics.GAUGES_LATE.inc()
            _log.exception("The tables' gauges could not be refreshed.")
        await clock.sleep(EVERY_SECONDS)


async def refresh(pool: asyncpg.Pool, sources: Sequence[str], consumers: Sequence[str]) -> None:
    """Reads the tables once; raises `DatabaseAway`."""
    async with connection(pool, _ACQUIRE_SECONDS) as conn:
        with database_away_named():
            for source in sources:
                lanes = [
                    lane for name in consumers for lane in await gauge_store.outbox(conn, source, name, MOST)
                ]
                _show_outbox(source, lanes)
            await _refresh_consumers(conn, consumers)


def _show_outbox(source: str, lanes: Sequence[LaneCounts]) -> None:
    pending: Counter[str] = Counter()
    for lane in lanes:
        pending[lane.lane] += lane.pending
    for name, number in pending.items():
        metrics.PENDING.labels(source, name).set(number)
    metrics.OLDEST_AGE.labels(source).set(max((lane.oldest for lane in lanes), default=0))
    metrics.LEASED.labels(source, "broker").set(sum(lane.broker for lane in lanes))
    metrics.LEASED.labels(source, "worker").set(sum(lane.worker for lane in lanes))


async def _refresh_consumers(conn: Connection, consumers: Sequence[str]) -> None:
    size = dict.fromkeys(REASONS, 0)
    for consumer in consumers:
        failed = await gauge_store.failed(conn, consumer, MOST)
        for reason, (number, _) in failed.items():
            size[reason] = size.get(reason, 0) + number
        oldest = max((age for _, age in failed.values()), default=0)
        runtime_metrics.DLQ_OLDEST.labels(consumer).set(oldest)
        scheduled = await gauge_store.scheduled(conn, consumer, MOST)
        runtime_metrics.SCHEDULED.labels(consumer).set(scheduled)
    for reason, number in size.items():
        runtime_metrics.DLQ_SIZE.labels(reason).set(number)
