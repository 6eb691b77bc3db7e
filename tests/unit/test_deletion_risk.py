"""How long until Shopify deletes subscriptions, by our own failures."""

from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from services.webhooks.deletion_risk import SHOPIFY_GIVES_UP, DeletionRisk

HOUR = 3_600.0


class Moved:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> Moved:
    return Moved()


@pytest.fixture
def risk(clock: Moved) -> DeletionRisk:
    return DeletionRisk(clock)


def left(risk: DeletionRisk, topic: str = "orders/create") -> float | None:
    risk.show()
    return REGISTRY.get_sample_value("subscription_deletion_risk_seconds", {"topic": topic})


def test_it_counts_down_from_the_first_failure_since_the_last_success(
    risk: DeletionRisk, clock: Moved
) -> None:
    assert left(risk) is None
    risk.failed("Orders/Create")
    clock.seconds = HOUR
    risk.failed("orders/create")
    assert left(risk) == SHOPIFY_GIVES_UP - HOUR
    clock.seconds = 4.5 * HOUR
    assert left(risk) == 0.0


def test_a_success_of_the_topic_ends_it(risk: DeletionRisk) -> None:
    risk.failed("orders/create")
    risk.accepted("products/update")
    assert left(risk) == SHOPIFY_GIVES_UP
    risk.accepted("orders/create")
    assert left(risk) is None


def test_what_shopify_has_stopped_retrying_is_forgotten(risk: DeletionRisk, clock: Moved) -> None:
    risk.failed("orders/create")
    clock.seconds = SHOPIFY_GIVES_UP + 1
    assert left(risk) is None


@pytest.mark.parametrize("topic", ["app/uninstalled", "customers/redact", "made/up", None])
def test_topics_that_shopify_never_deletes_are_at_no_risk(risk: DeletionRisk, topic: str | None) -> None:
    risk.failed(topic)
    assert left(risk, topic or "other") is None
    assert left(risk, "other") is None
