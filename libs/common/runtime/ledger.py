"""What is told of each unit of work: its metrics and its one wide log line."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from libs.common.clock import Clock
from libs.common.contracts.topology import Lane
from libs.common.ids import made_at
from libs.common.runtime import metrics
from libs.common.runtime.endings import Result
from libs.common.runtime.gates import GateKey
from libs.common.runtime.handlers import Handler
from libs.common.runtime.work import Delivery

_log = structlog.get_logger(__name__)
_ENDS = (Result.COMPLETED, Result.UNHANDLED)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Deliveries that run as one task, since they may share a transaction."""

    lane: Lane
    handler: Handler | None
    group: list[Delivery]
    gate: GateKey | None
    started: float  # on the monotonic clock

    @property
    def handler_name(self) -> str:
        return "none" if self.handler is None else self.handler.name


class Ledger:
    """Notes what became of jobs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def note(self, job: Job, results: Mapping[Delivery, Result]) -> None:
        """Counts and logs a finished job. A delivery without a result met a failure of the runtime itself."""
        name = job.handler_name
        seconds = self._clock.monotonic() - job.started
        metrics.HANDLER_SECONDS.labels(name).observe(seconds)
        counts = Counter(
            results[delivery].value if delivery in results else "error" for delivery in job.group
        )
        for result, number in counts.items():
            metrics.MESSAGES.labels(name, result).inc(number)
        now = self._clock.now()
        for delivery, result in results.items():
            if result in _ENDS:
                metrics.ATTEMPTS.labels(name).observe(delivery.message.attempt)
                age = (now - made_at(delivery.message.id)).total_seconds()
                metrics.END_TO_END.labels(delivery.route).observe(max(0.0, age))
        first = job.group[0]
        _log.info(
            "Messages were worked on.",
            handler=name, message_id=str(first.message.id), type=first.message.type, shop=first.message.shop,
            route=first.route, lane=first.lane.value, attempt=first.message.attempt, messages=len(job.group),
            results=dict(counts), duration_ms=round(seconds * 1000, 2),
            correlation_id=first.message.correlation_id,
        )  # fmt: skip
