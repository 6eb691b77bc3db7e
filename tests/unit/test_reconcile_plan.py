"""Which hours are due, what is missing of a resource, and what the ledger proves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.contracts.subscriptions import Wanted
from services.webhooks.reconcile_plan import (
    FAMILIES,
    Arrival,
    Changed,
    Looked,
    Span,
    due,
    judged,
    lost,
)
from services.webhooks.reconcile_report import Question, report

ORDERS = FAMILIES[0]
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CREATE, CANCELLED, UPDATED = "orders/create", "orders/cancelled", "orders/updated"


def hours(spans: list[Span]) -> list[tuple[float, float]]:
    return [((span.start - NOON) / HOUR, (span.end - NOON) / HOUR) for span in spans]


def looked(hour: float, *, until: float = 1.0, missing: int = 0, at: float = 2.0) -> tuple[datetime, Looked]:
    start = NOON + hour * HOUR
    return start, Looked(start + until * HOUR, missing, start + at * HOUR)


def test_hours_that_nobody_has_looked_at_are_looked_at_in_one_go() -> None:
    assert hours(
        due(Span(NOON + MINUTE * 30, NOON + 3 * HOUR), {}, NOON + 4 * HOUR, begun=NOON + 4 * HOUR)
    ) == [(0.5, 3.0)]


def test_an_hour_that_has_only_begun_is_looked_at_where_a_person_asks() -> None:
    whole = Span(NOON, NOON + 1.5 * HOUR)
    assert hours(due(whole, {}, NOON + 2 * HOUR, begun=NOON + 2 * HOUR)) == [(0.0, 1.0)]
    assert hours(due(whole, {}, NOON + 2 * HOUR, begun=NOON + 2 * HOUR, partial=True)) == [(0.0, 1.5)]


def test_what_was_looked_at_is_due_again_when_a_day_old_or_while_something_is_missing() -> None:
    known = dict([looked(0), looked(1), looked(2, missing=1), looked(3, until=0.5), looked(4, at=25.5)])
    whole = Span(NOON, NOON + 5 * HOUR)
    assert hours(due(whole, known, NOON + 6 * HOUR, begun=NOON + 6 * HOUR)) == [(2.0, 4.0)]
    assert hours(due(whole, known, NOON + 26 * HOUR, begun=NOON + 26 * HOUR)) == [(0.0, 4.0)]
    assert hours(due(whole, known, NOON + 40 * HOUR, begun=NOON + 40 * HOUR)) == [(0.0, 4.0)], (
        "the fifth was looked at when it was a day old"
    )


def test_a_run_that_goes_on_does_not_look_again_at_what_it_has_found_missing() -> None:
    known = dict([looked(0, missing=1, at=5.0), looked(1, missing=1, at=2.5)])
    whole = Span(NOON, NOON + 2 * HOUR)
    assert hours(due(whole, known, NOON + 6 * HOUR, begun=NOON + 4 * HOUR)) == [(1.0, 2.0)]


def changed(updated: float, **moments: float) -> Changed:
    named = {f"orders/{name}": NOON + at * MINUTE for name, at in moments.items()}
    return Changed(1, NOON + updated * MINUTE, named)


def arrived(updated: float, *topics: str) -> Arrival:
    return Arrival(NOON + updated * MINUTE, frozenset(topics))


@pytest.mark.parametrize(
    ("at_shopify", "known", "topics"),
    [
        (changed(5, create=5), None, {CREATE}),
        (changed(9, create=5), None, {CREATE, UPDATED}),
        (changed(9, create=5), arrived(5, CREATE), {UPDATED}),
        (changed(9, create=5), arrived(9), {CREATE}),
        (changed(9, create=5), arrived(9, CREATE), set()),
        (changed(9, create=5), arrived(10, CREATE), set()),
        (changed(9, create=-5), None, {UPDATED}),
        (changed(9, create=-5, cancelled=9), arrived(9), {CANCELLED}),
        (changed(9, create=-5, cancelled=9), arrived(8), {CANCELLED, UPDATED}),
    ],
)
def test_what_is_missing_is_the_newest_state_and_moments_that_nothing_told_of(
    at_shopify: Changed, known: Arrival | None, topics: set[str]
) -> None:
    assert set(lost(ORDERS, at_shopify, known, NOON)) == topics


def test_a_family_is_judged_only_where_every_change_of_it_is_wanted() -> None:
    wanted = (Wanted(UPDATED), Wanted("products/update", filter="vendor:me"), Wanted("customers/create"))
    [orders] = judged(wanted)
    assert (orders.name, orders.moments) == ("orders", {}), "nobody wants to hear of creations"
    assert [family.name for family in judged()] == ["orders", "products", "customers"]


def row(hour: int, **changes: Any) -> dict[str, Any]:
    start = NOON + hour * HOUR
    counts = {"at_shopify": 3, "arrived": 2, "reconciled": 1, "missing": 0}
    return {
        "family": "orders",
        "hour": start,
        "until": start + HOUR,
        "checked_at": start,
        **counts,
        **changes,
    }


def told(rows: list[dict[str, Any]], since: float = 0, now: float = 4, begun: float = -1) -> dict[str, Any]:
    shop = dict.fromkeys(("shop", "installed", "checked_at", "due_at", "ended_at", "checking", "error"))
    question = Question(Span(NOON + since * HOUR, NOON + now * HOUR), NOON + now * HOUR, 2 * HOUR)
    return report(
        question,
        {**shop, "since": NOON - HOUR, "denied": []},
        {"orders": NOON + begun * HOUR},
        rows,
        [],
        [ORDERS],
    )


def test_the_ledger_proves_what_was_looked_at_without_a_gap() -> None:
    found = told([row(0), row(1), row(3)])
    assert (found["verdict"], found["proven_until"]) == ("complete", NOON + 2 * HOUR)
    assert found["families"][0]["arrived"] == 6


def test_the_ledger_does_not_take_for_proven_what_nobody_looked_at() -> None:
    assert told([])["verdict"] == "unproven"
    assert [one["hour"] for one in told([row(0)])["unproven"]] == [NOON + HOUR]
    assert told([row(0), row(1, until=NOON + 1.5 * HOUR)])["verdict"] == "unproven"
    assert told([], now=1)["verdict"] == "too_early"


def test_the_ledger_says_what_is_missing() -> None:
    found = told([row(0), row(1, missing=1, arrived=1)])
    assert (found["verdict"], found["proven_until"]) == ("missing", NOON + HOUR)
    assert found["families"][0]["missing"] == 1


def test_the_ledger_asks_for_no_proof_from_before_a_family_was_compared() -> None:
    found = told([row(2, until=NOON + 3 * HOUR)], now=5, begun=2.5)
    assert (found["verdict"], found["proven_until"]) == ("complete", NOON + 3 * HOUR)
    assert told([row(2)], now=5, begun=1.5)["verdict"] == "unproven"
