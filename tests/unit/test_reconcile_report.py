"""What counts as late: resources whose newest state had to be fed, and came of itself after all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.webhooks.reconcile_plan import FAMILIES, Span
from services.webhooks.reconcile_report import Question, report

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
FIRST, SECOND = NOON + timedelta(minutes=5), NOON + timedelta(minutes=6)
LATER = NOON + timedelta(hours=2)
STATE: dict[str, Any] = {
    "shop": "one.myshopify.com", "installed": True, "checked_at": LATER, "due_at": LATER, "ended_at": LATER,
    "checking": False, "error": None, "since": NOON, "denied": [],
}  # fmt: skip


def fed(at: datetime, topic: str, *, late: bool, overtaken: bool = False) -> dict[str, Any]:
    return {
        "family": "orders", "resource_id": 1, "updated_at": at, "topic": topic, "found_at": LATER,
        "message_id": "01", "problem": None, "late_at": LATER if late else None, "overtaken": overtaken,
    }  # fmt: skip


CREATED, UPDATED = "orders/create", "orders/updated"
CASES = [
    pytest.param([fed(FIRST, UPDATED, late=True)], 1, id="it came"),
    pytest.param([fed(FIRST, CREATED, late=True), fed(FIRST, UPDATED, late=True)], 1, id="both of it came"),
    pytest.param([fed(FIRST, CREATED, late=False), fed(FIRST, UPDATED, late=True)], 0, id="half of it came"),
    pytest.param(
        [fed(FIRST, UPDATED, late=True), fed(SECOND, UPDATED, late=False)], 0, id="an older one came"
    ),
    pytest.param([fed(FIRST, UPDATED, late=True, overtaken=True)], 0, id="a newer one came in time"),
]


@pytest.mark.parametrize(("rows", "late"), CASES)
def test_late_counts_resources_of_which_everything_has_come_after_all(
    rows: list[dict[str, Any]], late: int
) -> None:
    hour = {
        "family": "orders", "hour": NOON, "until": NOON + timedelta(hours=1), "at_shopify": 1, "arrived": late,
        "reconciled": 1 - late, "missing": 0, "checked_at": LATER,
    }  # fmt: skip
    question = Question(Span(NOON, LATER), LATER, timedelta(hours=1))
    told = report(question, STATE, {}, [hour], rows, FAMILIES[:1])
    assert told["hours"][0]["late"] == told["families"][0]["late"] == late
