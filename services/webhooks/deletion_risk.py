"""How long until Shopify deletes subscriptions, by our own failures: it does so after eight in a row, in 4 hours.

Of this process only; the alert takes the last success of any other process into account.
"""

from dataclasses import dataclass, field

from libs.common.clock import Clock
from libs.common.contracts.subscriptions import by_api
from services.webhooks import metrics

SHOPIFY_GIVES_UP = 4 * 3_600.0  # seconds of failing (SHOPIFY 4.3)
_AT_RISK = frozenset(one.topic for one in by_api())  # what the app's configuration subscribes to stays


@dataclass(slots=True)
class _Failing:
    since: float
    last: float


@dataclass(frozen=True, slots=True)
class DeletionRisk:
    """Topics whose deliveries we have answered with our own failure since the last success."""

    clock: Clock
    _failing: dict[str, _Failing] = field(default_factory=dict)

    def failed(self, topic: str | None) -> None:
        """A delivery was answered with a 5xx."""
        name, now = metrics.topic_label(topic), self.clock.monotonic()
        if name not in _AT_RISK:
            return
        if name not in self._failing:
            self._failing[name] = _Failing(now, now)
            self.show()
        self._failing[name].last = now

    def accepted(self, topic: str) -> None:
        """A delivery was answered with 200."""
        if self._failing and metrics.topic_label(topic) in self._failing:
            del self._failing[metrics.topic_label(topic)]
            self.show()

    def show(self) -> None:
        """Brings the gauge up to date. Of whom nobody has heard for four hours, nothing is retried any more."""
        now = self.clock.monotonic()
        for topic in [t for t, one in self._failing.items() if now - one.last > SHOPIFY_GIVES_UP]:
            del self._failing[topic]
        metrics.SUBSCRIPTION_DELETION_RISK.clear()
        for topic, one in self._failing.items():
            left = max(0.0, SHOPIFY_GIVES_UP - (now - one.since))
            metrics.SUBSCRIPTION_DELETION_RISK.labels(topic).set(left)
