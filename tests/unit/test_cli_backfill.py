"""`shopbus backfill` against a scripted API."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.shopbus_cli import Call, JobApi, Shopbus, job_api

ID = "019aa3c0-7e55-7000-8000-0123456789ab"
SHOP = "sandbox-001.myshopify.com"
ONE: dict[str, Any] = {
    "id": ID, "shop": SHOP, "resource": "orders", "since": "2026-01-01T00:00:00Z", "status": "reading",
    "reason": None, "accepted": 1_500, "repeated": 0, "withheld": 2, "operation": "gid://shopify/BulkOperation/1",
    "file": {"lines": 8_000, "lines_read": 4_000, "bytes_read": 1_234_567}, "attempt": 1, "failures": 0,
    "created_at": "2026-11-28T00:31:19Z", "snapshot_at": "2026-11-28T00:31:20Z", "next_at": "2026-11-28T00:31:20Z",
    "ended_at": None,
}  # fmt: skip
START = (
    "backfill",
    "start",
    "--shop",
    "sandbox-001",
    "--resource",
    "orders",
    "--since",
    "2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def test_start_says_what_is_wanted_and_where_to_look(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (202, ONE)
    result = shopbus(*START, "--url", api.url)
    assert result.exit_code == 0, result.stderr
    assert f"shopbus backfill show {ID}" in result.stdout
    [call] = api.calls
    assert (call.method, call.path) == ("POST", "/api/backfills")
    assert json.loads(call.body) == {"shop": SHOP, "resource": "orders", "since": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("status", "lines", "code"), [("completed", 4_000, 0), ("completed", 8_000, 1), ("failed", 4_000, 1)]
)
def test_wait_ends_with_the_backfill_and_is_content_with_a_whole_file_only(
    shopbus: Shopbus, api: JobApi, status: str, lines: int, code: int
) -> None:
    file = {**ONE["file"], "lines": lines}
    ended = {**ONE, "status": status, "file": file, "ended_at": "2026-11-28T00:33:00Z"}

    def answer(call: Call) -> tuple[int, Any]:
        return (202, ONE) if call.method == "POST" else (200, ended)

    api.answer = answer
    result = shopbus(*START, "--wait", "--url", api.url)
    assert result.exit_code == code, result.stderr
    assert "1,500" in result.stdout
    assert f"4,000 of {lines:,} lines" in result.stdout


def test_ls_and_show_tell_how_far_it_is(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda call: (200, ONE if call.path.endswith(ID) else {"backfills": [ONE], "next": None})
    listed = shopbus("backfill", "ls", "--shop", "sandbox-001", "--status", "reading", "--url", api.url)
    assert "orders\t2026-01-01\treading\t1,500\t50 %" in listed.stdout
    assert api.calls[0].query == {"shop": SHOP, "status": "reading", "limit": "50"}
    shown = shopbus("backfill", "show", ID, "--json", "--url", api.url)
    assert json.loads(shown.stdout) == ONE


def test_cancel_says_what_came_of_it(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (202, {**ONE, "status": "cancelling"})
    assert f"{ID} is cancelling" in shopbus("backfill", "cancel", ID, "--url", api.url).stdout
    assert api.calls[0].path == f"/api/backfills/{ID}/cancel"


def test_what_the_server_refuses_is_one_line(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (409, {"detail": f"a backfill of this shop's orders is under way: {ID}"})
    result = shopbus(*START, "--url", api.url)
    assert result.exit_code != 0
    assert result.stderr.strip() == f"shopbus: a backfill of this shop's orders is under way: {ID}"
