"""`shopbus lost` against a scripted API: the proof, the list, and its exit codes."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.shopbus_cli import Call, JobApi, Shopbus, job_api

ID = "01a22032-d6e5-7000-a765-20d352e7aade"
COUNTS = {"at_shopify": 206, "arrived": 204, "reconciled": 2, "missing": 0, "late": 1}
PAGE: dict[str, Any] = {
    "shop": "sandbox-001.myshopify.com", "verdict": "complete", "since": "2026-11-27T04:00:00Z",
    "until": "2026-11-28T04:43:10Z", "proven_until": "2026-11-28T03:00:00Z", "listening_since": "2026-11-20T08:12:44Z",
    "checked_at": "2026-11-28T04:31:02Z", "ended_at": "2026-11-28T04:31:02Z", "checking": False, "error": None,
    "families": [
        {"family": "orders", "compared": True, "why": None, **COUNTS},
        {"family": "customers", "compared": False, "why": "the app does not have the scope read_customers", **COUNTS},
    ],
    "hours": [
        {"family": "orders", "hour": "2026-11-28T02:00:00Z", "checked_at": "2026-11-28T04:31:02Z", **COUNTS},
        {"family": "orders", "hour": "2026-11-28T01:00:00Z", "checked_at": "2026-11-28T04:31:02Z",
         **dict.fromkeys(COUNTS, 0)},
    ],
    "unproven": [],
    "lost": [{"topic": "orders/create", "resource_id": 77, "updated_at": "2026-11-28T02:28:48Z", "message_id": ID,
              "problem": None, "late_at": None}],
    "more_lost": False,
}  # fmt: skip


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def lost(shopbus: Shopbus, api: JobApi, *more: str, **changes: Any) -> tuple[int, str]:
    api.answer = lambda _: (200, {**PAGE, **changes})
    result = shopbus("lost", "--shop", "sandbox-001", "--url", api.url, *more)
    return result.exit_code, " ".join(result.stdout.split())


def test_proof_that_nothing_is_missing_ends_with_0(shopbus: Shopbus, api: JobApi) -> None:
    code, said = lost(shopbus, api, "--since", "2h", "--until", "1h")
    assert code == 0
    assert "of 206 changed at Shopify, 204 arrived (1 of them late), and 2 did not and were fed." in said
    assert f"orders/create 77 fed, shopbus why {ID}" in said
    assert "Not compared: customers, since the app does not have the scope read_customers." in said
    assert said.count(" orders 0 ") == 0, "an hour in which nothing happened is left out"
    assert set(api.calls[0].query) == {"shop", "since", "until"}


def test_what_is_missing_is_listed_and_ends_with_1(shopbus: Shopbus, api: JobApi) -> None:
    one = {**PAGE["lost"][0], "message_id": None, "problem": "Access denied"}
    code, said = lost(shopbus, api, verdict="missing", lost=[one])
    assert code == 1
    assert "orders/create 77 missing: Access denied" in said
    assert "MISSING:" in said


@pytest.mark.parametrize(
    ("verdict", "words"), [("unproven", "NOT PROVEN"), ("too_early", "Nothing can be said yet")]
)
def test_what_nobody_has_looked_at_is_no_proof(
    shopbus: Shopbus, api: JobApi, verdict: str, words: str
) -> None:
    code, said = lost(shopbus, api, verdict=verdict, error="the shop is frozen")
    assert code == 1
    assert words in said
    assert "broke off: the shop is frozen" in said


def test_what_cannot_be_told_is_one_line_and_ends_with_2(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (404, {"detail": "this shop is not compared"})
    for arguments in (
        ("--url", api.url),
        ("--url", "http://127.0.0.1:1"),
        ("--since", "yesterday"),
        ("--shop", "a b"),
    ):
        result = shopbus("lost", "--shop", "sandbox-001", *arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


ASKED = "2026-11-28T04:50:00Z"
EARLIER = {
    "shop": PAGE["shop"],
    "ended_at": PAGE["ended_at"],
    "due_at": ASKED,
    "checking": False,
    "error": None,
}
UNDER_WAY_ALREADY = {**EARLIER, "ended_at": "2026-11-28T04:50:03Z"}
ANSWER = {**EARLIER, "ended_at": "2026-11-28T04:50:05Z", "due_at": "2026-11-28T05:40:00Z"}


def fix(shopbus: Shopbus, api: JobApi, *states: dict[str, Any]) -> tuple[int, str]:
    """`lost --fix`, while the shop's state is one after the other."""
    left = list(states)

    def answer(call: Call) -> tuple[int, Any]:
        if call.method == "POST":
            return 202, {"shop": call.query["shop"], "asked_at": ASKED}
        return 200, left.pop(0) if call.path.endswith("/state") else PAGE

    api.answer = answer
    result = shopbus("lost", "--shop", "sandbox-001", "--fix", "--url", api.url)
    assert not left
    return result.exit_code, result.stderr


def test_fix_waits_for_a_run_that_began_after_the_question(shopbus: Shopbus, api: JobApi) -> None:
    code, said = fix(shopbus, api, EARLIER, UNDER_WAY_ALREADY, {**EARLIER, "checking": True}, ANSWER)
    assert (code, said) == (0, "")


def test_fix_that_broke_off_has_proven_nothing_and_ends_with_2(shopbus: Shopbus, api: JobApi) -> None:
    code, said = fix(shopbus, api, {**ANSWER, "error": "the shop is frozen"})
    assert (code, said.splitlines()) == (2, ["shopbus: the comparison broke off: the shop is frozen"])
