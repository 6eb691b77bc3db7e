"""`shopbus subscriptions` against a scripted API, and the file that `shopbus app toml` makes."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from libs.common.contracts.subscriptions import (
    COMPLIANCE_TOPICS,
    WANTED,
    WEBHOOK_PATH,
    Wanted,
    app_specific,
    by_api,
)
from services.webhooks.metrics import KNOWN_TOPICS
from tests.unit.shopbus_cli import JobApi, Shopbus, job_api

PAGE: dict[str, Any] = {
    "shop": "sandbox-001.myshopify.com", "wanted_uri": "https://app.example.com/webhooks/shopify",
    "checked_at": "2026-11-28T00:31:19Z", "due_at": "2099-11-28T00:31:19Z", "error": None, "ended_at": None, "drift": 1,
    "topics": [
        {"topic": "orders/create", "state": "ok", "problem": None},
        {"topic": "products/update", "state": "cannot", "problem": "cannot: scope read_products missing"},
    ],
    "strangers": [],
    "history": [{"at": "2026-11-28T00:31:19Z", "topic": "orders/create", "action": "created", "detail": "at …"}],
}  # fmt: skip


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def test_ls_of_a_shop_shows_each_topic_and_what_was_done(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (200, PAGE)
    result = shopbus("subscriptions", "ls", "--shop", "sandbox-001", "--url", api.url)
    assert result.exit_code == 0, result.stderr
    assert "products/update\tcannot\tcannot: scope read_products missing" in result.stdout
    assert "orders/create\tcreated" in result.stdout
    assert api.calls[0].query == {"shop": "sandbox-001.myshopify.com"}


def test_ls_shows_all_shops_page_after_page(shopbus: Shopbus, api: JobApi) -> None:
    shop = {**PAGE, "not_ok": 2}
    api.answer = lambda call: (200, {"shops": [shop], "next": None if call.query else shop["shop"]})
    result = shopbus("subscriptions", "ls", "--json", "--url", api.url)
    assert [json.loads(line)["not_ok"] for line in result.stdout.splitlines()] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "code"), [({}, 1), ({"drift": 0}, 0), ({"drift": 0, "error": "away"}, 1)]
)
def test_check_says_by_its_exit_code_whether_all_is_as_wanted(
    shopbus: Shopbus, api: JobApi, changes: dict[str, Any], code: int
) -> None:
    api.answer = lambda _: (200, {**PAGE, **changes})
    result = shopbus("subscriptions", "check", "--shop", "sandbox-001", "--url", api.url)
    assert result.exit_code == code
    assert (api.calls[0].method, api.calls[0].path) == ("POST", "/webhooks/subscriptions/check")


def test_the_apps_configuration_parses_and_with_the_api_covers_all_that_is_wanted(shopbus: Shopbus) -> None:
    env = {"APP_URL": "https://app.example.com/", "SHOPIFY_SCOPES": "write_pixels,read_orders"}
    result = shopbus("app", "toml", **env)
    assert result.exit_code == 0, result.stderr
    made = tomllib.loads(result.stdout)
    assert made["client_id"] == "key-of-the-tests"
    assert made["auth"]["redirect_urls"] == ["https://app.example.com/auth/callback"]
    assert made["access_scopes"]["scopes"] == "read_orders,write_pixels"
    assert made["webhooks"]["api_version"] == "2026-10"
    entries = made["webhooks"]["subscriptions"]
    assert {entry["uri"] for entry in entries} == {WEBHOOK_PATH}
    assert [entry["compliance_topics"] for entry in entries if "compliance_topics" in entry] == [
        list(COMPLIANCE_TOPICS)
    ]
    in_file = [topic for entry in entries for topic in entry.get("topics", ())]
    assert sorted([*in_file, *(one.topic for one in by_api())]) == sorted(one.topic for one in WANTED)


def test_the_apps_configuration_is_not_guessed(shopbus: Shopbus) -> None:
    result = shopbus("app", "toml")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "APP_URL" in result.stderr


def test_a_topic_of_the_configuration_keeps_its_fields_and_filter() -> None:
    entries = app_specific(
        (Wanted("a/b", in_toml=True, include_fields=("id",), filter="id:1"), Wanted("c/d"))
    )
    assert entries[1:] == [
        {"topics": ["a/b"], "uri": WEBHOOK_PATH, "include_fields": ["id"], "filter": "id:1"}
    ]


def test_each_wanted_topic_is_one_that_shopify_has_and_is_wanted_once() -> None:
    topics = [one.topic for one in WANTED]
    assert len(set(topics)) == len(topics)
    assert set(topics) <= KNOWN_TOPICS - set(COMPLIANCE_TOPICS)
