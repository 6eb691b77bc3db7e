"""What is told of each unit of work: its metrics and its one wide log line."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter as PromCounter

from libs.common import logs
from libs.common.clock import Clock
from libs.common.contracts.topology import Lane
from libs.common.ids import made_at_seconds
from libs.common.runtime import metrics
from libs.common.runtime.endings import Result
from libs.common.runtime.gates import GateKey
from libs.common.runtime.handlers import Handler
from libs.common.runtime.work import POSTGRES, RABBITMQ, Delivery

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


class _Meters:
    """One handler's metrics, looked up once."""

    def __init__(self, handler: str) -> None:
        self.seconds = metrics.HANDLER_SECONDS.labels(handler)
        self.attempts = metrics.ATTEMPTS.labels(handler)
        self._handler = handler
        self._results: dict[str, PromCounter] = {}

    def count(self, result: str, number: int) -> None:
        meter = self._results.get(result)
        if meter is None:
            meter = self._results[result] = metrics.MESSAGES.labels(self._handler, result)
        meter.inc(number)


class Ledger:
    """Notes what became of jobs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._log = logs.WideLogger(__name__)
        self._meters: dict[str, _Meters] = {}
        self._ages = {route: metrics.END_TO_END.labels(route) for route in (POSTGRES, RABBITMQ)}

    def note(self, job: Job, results: Mapping[Delivery, Result]) -> None:
        """Counts and logs a finished job. A delivery without a result met a failure of the runtime itself."""
        name = job.handler_name
        meters = self._meters.get(name)
        if meters is None:
            meters = self._meters[name] = _Meters(name)
        seconds = self._clock.monotonic() - job.started
        meters.seconds.observe(seconds)
        counts = Counter(
            results[delivery].value if delivery in results else "error" for delivery in job.group
        )
        for result, number in counts.items():
            meters.count(result, number)
        now = self._clock.now().timestamp()
        ended = [delivery for delivery, result in results.items() if result in _ENDS]
        meters.attempts.observe_all([delivery.message.attempt for delivery in ended])
        for route, ages in self._ages.items():
            made = [made_at_seconds(delivery.message.id) for delivery in ended if delivery.route == route]
            ages.observe_all([max(0.0, now - at) for at in made])
        self._write(job, counts, seconds)

    def _write(self, job: Job, counts: Counter[str], seconds: float) -> None:
        first = job.group[0]
        fields = {
            "event": "Messages were worked on.", "handler": job.handler_name, "message_id": str(first.message.id),
            "type": first.message.type, "shop": first.message.shop, "route": first.route, "lane": first.lane.value,
            "attempt": first.message.attempt, "messages": len(job.group), "results": dict(counts),
            "duration_ms": round(seconds * 1000, 2), "correlation_id": first.message.correlation_id,
        }  # fmt: skip
        self._log.write("info", fields)
