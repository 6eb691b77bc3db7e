"""`shopbus send pixel` as it is typed; against the whole app it is in tests/e2e/test_send_pixel.py."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from libs.common.shopify.pixel_check import fits
from libs.common.shopify.pixel_payloads import STANDARD
from tests.unit.shopbus_cli import SECRET, Call, JobApi, Shopbus, job_api

KEY = "sbp_0123456789abcdef0123456789abcdef"
EXTENSION = {
    "active": True,
    "keys": [{"key": "sbp_replaced", "ends_at": "2026-11-28"}, {"key": KEY, "ends_at": None}],
}


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def receiver() -> Iterator[JobApi]:
    with job_api() as served:
        served.answer = lambda call: (200, EXTENSION) if call.method == "GET" else (204, b"")
        yield served


def batches(receiver: JobApi) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in receiver.calls if call.path == "/ingest/v1/events"]


def test_a_run_is_summed_up_for_people(shopbus: Shopbus, receiver: JobApi) -> None:
    result = shopbus("send", "pixel", "--count", "25", "--batch", "10", "--url", receiver.url)
    assert result.exit_code == 0, result.output
    assert "25 events in 3 requests sent to " in result.stdout
    assert "accepted" in result.stdout
    assert "quarantine" not in result.stdout
    assert SECRET not in result.output


def test_the_shops_key_is_asked_for_with_a_session_token(shopbus: Shopbus, receiver: JobApi) -> None:
    shopbus("send", "pixel", "--shops", "2", "--url", receiver.url)
    asked = [call for call in receiver.calls if call.path == "/ingest/extension"]
    assert [call.authorization and call.authorization.split()[0] for call in asked] == ["Bearer", "Bearer"]
    assert {batch["key"] for batch in batches(receiver)} == {KEY}


def test_a_named_key_is_used_as_it_is(shopbus: Shopbus, receiver: JobApi) -> None:
    result = shopbus("send", "pixel", "--key", "sbp_mine", "--url", receiver.url, SHOPIFY_API_KEY=None)
    assert result.exit_code == 0, result.output
    assert {batch["key"] for batch in batches(receiver)} == {"sbp_mine"}
    assert {call.path for call in receiver.calls} == {"/ingest/v1/events"}


def test_events_are_what_shopify_documents_and_a_funnel(shopbus: Shopbus, receiver: JobApi) -> None:
    shopbus(
        "send",
        "pixel",
        "--count",
        "3000",
        "--batch",
        "50",
        "--key",
        KEY,
        "--seed",
        "1",
        "--url",
        receiver.url,
    )
    sent = batches(receiver)
    events = [event for batch in sent for event in batch["events"]]
    assert all(fits(event["name"], event["data"]) for event in events)
    assert len({event["id"] for event in events}) == 3000
    assert {len({event["clientId"] for event in batch["events"]}) for batch in sent} == {1}
    assert all([event["seq"] for event in batch["events"]] == list(range(1, 51)) for batch in sent)
    names = Counter(event["name"] for event in events)
    assert set(names) == set(STANDARD) - {"alert_displayed", "ui_extension_errored"}
    assert names["product_viewed"] > names["product_added_to_cart"] > names["checkout_started"]
    assert names["checkout_started"] > names["checkout_completed"]


def test_what_is_too_much_is_sent_again(shopbus: Shopbus, receiver: JobApi) -> None:
    answers = iter([(503, b"away"), (204, b"")])
    receiver.answer = lambda _: next(answers)
    result = shopbus("send", "pixel", "--count", "7", "--key", KEY, "--json", "--url", receiver.url)
    summary = json.loads(result.stdout)
    assert (summary["accepted"], summary["requests"]["retried"]) == (7, 1)


def test_what_is_refused_ends_with_exit_code_1_and_a_hint(shopbus: Shopbus, receiver: JobApi) -> None:
    receiver.answer = lambda _: (403, b"no")
    result = shopbus("send", "pixel", "--key", KEY, "--url", receiver.url)
    assert result.exit_code == 1
    assert "refused with their whole request" in result.stdout
    assert "403: the key is none of the server's" in result.stdout


def test_a_merchants_shop_without_the_pixel_is_left_as_it_is(shopbus: Shopbus, receiver: JobApi) -> None:
    def answer(call: Call) -> tuple[int, Any]:
        return (404, {}) if call.path == "/sandbox" else (200, {"active": False, "keys": []})

    receiver.answer = answer
    result = shopbus("send", "pixel", "--shop", "real.myshopify.com", "--url", receiver.url)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "not switched on for real.myshopify.com" in result.stderr
    assert {call.method for call in receiver.calls} == {"GET"}


def test_a_server_of_another_app_is_said(shopbus: Shopbus, receiver: JobApi) -> None:
    receiver.answer = lambda _: (401, {"detail": "no"})
    result = shopbus("send", "pixel", "--url", receiver.url)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "another SHOPIFY_API_KEY or SHOPIFY_API_SECRET" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--count", "0"),
        ("--batch", "501"),
        ("--rate", "0"),
        ("--broken", "2"),
        ("--shop", "not a shop"),
        ("--key", KEY, "--shops", "2"),
        ("--url", "ftp://127.0.0.1/"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(shopbus: Shopbus, arguments: tuple[str, ...]) -> None:
    result = shopbus("send", "pixel", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (2, 1, ""), result.output
