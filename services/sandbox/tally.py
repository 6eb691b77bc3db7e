"""What came of a run of deliveries: counted while it runs, summed up at its end."""

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended: with a status, or with a reason why there was none."""

    status: int | None
    seconds: float
    failure: str | None = None
    message_id: str | None = None
    duplicate: bool = False

    @property
    def accepted(self) -> bool:
        """Shopify takes only 2xx for a success; a redirect is a failure."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own numbers


@dataclass(slots=True)
class Tally:
    """Every delivery ends in exactly one of `accepted`, `duplicates` and `given_up`."""

    sent: int = 0  # deliveries, without copies and retries
    copies: int = 0  # deliveries sent a second time on purpose
    accepted: int = 0
    duplicates: int = 0  # answered 2xx, as one that the receiver has already
    retried: int = 0
    given_up: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # attempts by the status that answered them
    unanswered: Counter[str] = field(default_factory=Counter)  # attempts by the reason why nothing did
    latencies: "array[float]" = field(default_factory=lambda: array("d"))  # seconds, of answered attempts

    def count(self, answer: Answer) -> None:
        if answer.status is None:
            self.unanswered[answer.failure or "unknown"] += 1
            return
        self.latencies.append(answer.seconds)
        if not answer.accepted:
            self.rejected[str(answer.status)] += 1
        elif answer.duplicate:
            self.duplicates += 1
        else:
            self.accepted += 1

    @property
    def ended(self) -> int:
        return self.accepted + self.duplicates + self.given_up

    def summary(self, seconds: float) -> dict[str, Any]:
        """The machine-readable result; latencies in milliseconds, None where nothing answered."""
        return {
            "sent": self.sent,
            "copies": self.copies,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "unanswered": dict(sorted(self.unanswered.items())),
            "retried": self.retried,
            "given_up": self.given_up,
            "p50_ms": self._percentile(50),
            "p99_ms": self._percentile(99),
            "seconds": round(seconds, 3),
            "per_second": round(self.ended / seconds, 1) if seconds > 0 else None,
        }

    def _percentile(self, percent: int) -> float | None:
        if not self.latencies:
            return None
        rank = math.ceil(len(self.latencies) * percent / 100)
        return round(sorted(self.latencies)[rank - 1] * 1000, 2)
