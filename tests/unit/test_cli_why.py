"""`shopbus why` tells the story of one message."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from libs.common.outbox.cancel_store import NEVER_STARTED
from services.cli.why import story
from tests.unit.scripted_jobs import ID, NOW, at, job
from tests.unit.shopbus_cli import JobApi, Shopbus, job_api


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def test_why_prints_the_story(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (200, job())
    result = shopbus("why", ID, "--url", api.url)
    assert result.stdout.splitlines()[0].startswith("Accepted ")


def told(**changes: Any) -> str:
    return "\n".join(story(job(**changes), NOW + timedelta(seconds=60)))


def test_the_story_of_work_that_was_cancelled_before_it_began() -> None:
    why = f"{NEVER_STARTED}x.myshopify.com removed the app (install 1)"
    attempt = {"started_at": at(0), "finished_at": at(0), "error": why, "route": "postgres", "outcome": None}
    text = told(attempts=[attempt], outcome="cancelled")
    assert f", {why}." in text
    assert "failed" not in text
    assert "Attempt" not in text


def test_the_story_of_a_success() -> None:
    text = told()
    assert "a webhook orders/create from sandbox-001.myshopify.com, on the default lane" in text
    assert "Attempt 1 came straight from Postgres" in text
    assert "it succeeded after 250 ms" in text
    assert "400 ms after it was accepted. Nothing more will happen." in text


def test_the_story_of_a_failure_names_the_way_back() -> None:
    attempts = [
        {"started_at": at(0), "finished_at": at(30), "error": "TimeoutError: too slow.", "route": "rabbitmq"}
    ]
    text = told(status="failed", attempts=attempts, outcome="failed", reason="exhausted")
    assert "came through RabbitMQ" in text
    assert "it failed after 30 s with TimeoutError: too slow." in text
    assert "Given up" in text
    assert "because the last of its attempts failed. It waits to be replayed: shopbus jobs retry" in text


def test_the_story_of_what_nobody_handles() -> None:
    assert "no handler is registered for webhook.orders.create" in told(outcome="unhandled")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "pending"}, "the next free worker takes it"),
        (
            {"status": "pending", "next_attempt_at": at(90), "reason": "busy"},
            "running as it may. Then the next",
        ),
        ({"status": "pending", "next_attempt_at": at(90), "reason": "whim"}, "(whim). Then the next"),
        ({"status": "queued"}, "in RabbitMQ's hands"),
        ({"status": "processing"}, "a worker is on it"),
        ({"status": "hovering"}, "Now it is hovering"),
    ],
)
def test_the_story_says_what_happens_next(changes: dict[str, Any], words: str) -> None:
    assert words in told(finished_at=None, **changes)


def test_an_attempt_that_still_runs_is_told_as_such() -> None:
    attempts = [{"started_at": at(0), "finished_at": None, "error": None, "route": None}]
    assert "it is still running" in told(status="processing", attempts=attempts, finished_at=None)


def test_an_error_from_outside_cannot_command_the_terminal() -> None:
    attempts = [
        {"started_at": at(0), "finished_at": at(1), "error": "\x1b]0;owned\x07\nDone.", "route": "x\x1b"}
    ]
    assert "\x1b" not in told(attempts=attempts)
    assert len(told(attempts=attempts).splitlines()) == len(told().splitlines())
