"""`shopbus replay`: the plan first, then the deed."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.shopbus_cli import Call, JobApi, Shopbus, job_api


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def replaying(matching: int, *, gone: int = 0, at_once: int = 2) -> Callable[[Call], tuple[int, Any]]:
    """Answers like the server: some messages a request, and where the next request goes on."""

    def answer(call: Call) -> tuple[int, Any]:
        start = int(json.loads(call.body).get("cursor", 0))
        end = min(start + at_once, matching)
        following = str(end) if end < matching else None
        if "dry_run" in call.query:
            return 200, {"count": end - start, "more": following is not None, "next": following}
        lost = gone if following is None else 0
        return 202, {"replayed": end - start - lost, "more": following is not None, "next": following}

    return answer


def deeds(api: JobApi) -> list[Call]:
    return [call for call in api.calls if "dry_run" not in call.query]


def test_replay_first_says_how_many(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = replaying(5)
    result = shopbus("replay", "--dry-run", "--url", api.url)
    assert result.stdout == "5 messages match (status failed)\n"
    assert deeds(api) == []


def test_replay_goes_on_until_the_server_is_through(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = replaying(5)
    result = shopbus("replay", "--yes", "--url", api.url)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "5 put back to work"
    assert [json.loads(call.body).get("cursor") for call in deeds(api)] == [None, "2", "4"]
    assert {(call.method, call.path) for call in api.calls} == {("POST", "/api/jobs/retry")}


def test_plan_and_deed_use_the_same_filter(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = replaying(1)
    arguments = (
        "--status",
        "completed",
        "--type",
        "orders/create",
        "--shop",
        "sandbox-007",
        "--since",
        "2026-11-21T08:00:00Z",
    )
    shopbus("replay", *arguments, "--yes", "--url", api.url)
    plan, deed = (json.loads(call.body) for call in api.calls)
    assert plan == deed
    assert datetime.fromisoformat(plan.pop("until")) <= datetime.now(UTC)
    assert plan == {
        "status": "completed",
        "type": "webhook.orders.create",
        "shop": "sandbox-007.myshopify.com",
        "since": "2026-11-21T08:00:00+00:00",
    }


def test_replay_says_what_it_could_not_replay(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = replaying(3, gone=1)
    result = shopbus("replay", "--yes", "--url", api.url)
    assert "2 put back to work; 1 had moved on" in result.stdout


def test_replay_does_nothing_unasked(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = replaying(1)
    result = shopbus("replay", "--url", api.url)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert deeds(api) == []


def test_replay_of_nothing_is_no_error(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = replaying(0)
    assert shopbus("replay", "--url", api.url).exit_code == 0
    assert deeds(api) == []


def test_what_the_server_cannot_mean_is_bad_input(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (400, {"detail": "status has to be one of failed, completed"})
    result = shopbus("replay", "--status", "queued", "--url", api.url)
    assert (result.exit_code, result.stderr) == (2, "shopbus: status has to be one of failed, completed\n")
