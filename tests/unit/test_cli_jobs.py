"""`shopbus jobs` against a job API, and what every command that asks one says when it fails."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.scripted_jobs import ID, at, job, pages
from tests.unit.shopbus_cli import OPS_TOKEN, Call, JobApi, Shopbus, job_api


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def test_ls_prints_a_line_a_message_for_pipes(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = pages([job(1), job(2, status="failed")], 10)
    result = shopbus("jobs", "ls", "--url", api.url)
    heading, first, second = result.stdout.splitlines()
    assert heading.startswith("ID\tTYPE\tSHOP\tSTATUS")
    assert first.split("\t")[:4] == [job(1)["id"], "orders/create", "sandbox-001", "completed"]
    assert second.split("\t")[3] == "failed"
    assert api.calls[0].authorization == f"Bearer {OPS_TOKEN}"


def test_ls_follows_the_cursor_up_to_its_limit(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = pages([job(number) for number in range(10)], 3)
    result = shopbus("jobs", "ls", "--limit", "7", "--json", "--url", api.url)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [
        job(number)["id"] for number in range(7)
    ]


def test_ls_goes_on_after_an_empty_page(shopbus: Shopbus, api: JobApi) -> None:
    def answer(call: Call) -> tuple[int, Any]:
        return (
            (200, {"jobs": [job()], "next": None})
            if "cursor" in call.query
            else (200, {"jobs": [], "next": "x"})
        )

    api.answer = answer
    assert len(shopbus("jobs", "ls", "--json", "--url", api.url).stdout.splitlines()) == 1


def test_ls_sends_the_filter(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = pages([], 10)
    arguments = (
        "--status",
        "failed",
        "--type",
        "orders/create",
        "--shop",
        "sandbox-007",
        "--since",
        "2026-11-21T08:00:00Z",
    )
    result = shopbus("jobs", "ls", *arguments, "--url", api.url)
    assert result.exit_code == 0
    assert api.calls[0].query == {
        "status": "failed",
        "type": "webhook.orders.create",
        "shop": "sandbox-007.myshopify.com",
        "since": "2026-11-21T08:00:00+00:00",
        "limit": "50",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "--status", "lost"),
        ("ls", "--since", "yesterday"),
        ("ls", "--shop", "no shop"),
        ("ls", "--limit", "0"),
        ("ls", "--url", "nonsense"),
        ("ls", "--nonsense"),
        ("show", "not-an-id"),
        ("show",),
        ("retry", "../stats"),
        ("dance",),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(shopbus: Shopbus, arguments: tuple[str, ...]) -> None:
    result = shopbus("jobs", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (2, 1, "")
    assert result.stderr.startswith("shopbus: ")


def test_show_tells_every_attempt(shopbus: Shopbus, api: JobApi) -> None:
    attempts = [
        {"started_at": at(0), "finished_at": at(30), "error": "TimeoutError", "route": "rabbitmq"},
        {"started_at": at(60), "finished_at": None, "error": None, "route": "postgres"},
    ]
    api.answer = lambda _: (200, job(status="processing", attempts=attempts, finished_at=None))
    result = shopbus("jobs", "show", ID, "--url", api.url)
    assert "status:       processing" in result.stdout
    rows = [line.split("\t") for line in result.stdout.splitlines() if "\t" in line]
    assert [row[0] for row in rows] == ["TRY", "1", "2"]
    assert [row[2:] for row in rows[1:]] == [["30 s", "rabbitmq", "TimeoutError"], ["-", "postgres", "-"]]
    assert api.calls[0].path == f"/api/jobs/{ID}"


def test_retry_says_where_the_message_is_now(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (202, {"id": ID, "status": "pending"})
    result = shopbus("jobs", "retry", ID.upper(), "--url", api.url)
    assert result.stdout == f"{ID} is pending again\n"
    assert (api.calls[0].method, api.calls[0].path) == ("POST", f"/api/jobs/{ID}/retry")


@pytest.mark.parametrize("status", [404, 409])
def test_a_refusal_is_told_in_the_servers_words(shopbus: Shopbus, api: JobApi, status: int) -> None:
    api.answer = lambda _: (status, {"title": "No", "detail": "there is no such message"})
    result = shopbus("jobs", "retry", ID, "--url", api.url)
    assert (result.exit_code, result.stderr) == (1, "shopbus: there is no such message\n")


def test_a_wrong_token_is_explained(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (401, {"detail": "the token is not right"})
    result = shopbus("why", ID, "--url", api.url)
    assert result.exit_code == 1
    assert "OPS_TOKEN" in result.stderr
    assert OPS_TOKEN not in result.output


def test_something_else_on_the_port_is_recognised(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (200, b"<html>hello</html>")
    result = shopbus("why", ID, "--url", api.url)
    assert (result.exit_code, result.stderr) == (
        1,
        "shopbus: that is not shopbus: it answered 200 without JSON\n",
    )


def test_without_a_server_the_next_step_is_named(shopbus: Shopbus) -> None:
    result = shopbus("why", ID, PORT="1")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("shopbus: nothing listens at http://127.0.0.1:1: start it with `make run`")


def test_without_a_token_its_sources_are_named(shopbus: Shopbus) -> None:
    result = shopbus("why", ID, OPS_TOKEN=None)
    assert result.exit_code == 2
    assert result.stderr.startswith("shopbus: no OPS_TOKEN: ")
