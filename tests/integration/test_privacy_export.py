"""What is held about a customer becomes a file; the merchant sees the cases of their own shop, and of no other."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from pydantic import SecretStr

from libs.common.contracts.topology import SOURCES
from libs.common.privacy.keys import InvalidReceipt, PrivacyKeys, verify
from tests.integration.auth_kit import OPS, SERVICE_KEY, session_token
from tests.integration.privacy_kit import ANNA, BEN, CLEO, A, World, dump, fill, holding, world
from tests.waiting import poll

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "webhooks"


@pytest.fixture
async def one(database: str) -> AsyncIterator[World]:
    async with world(database) as made:
        yield made


async def ask(one: World, person: Any = ANNA) -> dict[str, Any]:
    """A customer asks for their data."""
    body = person.request("orders_requested", data_request={"id": 9999})
    return await one.case(await one.accept("customers.data_request", body, person.shop), status="ready")


async def fetch(one: World, path: str, token: str) -> tuple[ClientResponse, bytes]:
    async with one.client.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer, await answer.read()


async def test_the_file_has_everything_about_the_customer_and_nothing_about_others(one: World) -> None:
    await fill(one.pool)
    case = await ask(one)
    answer, content = await fetch(one, f"/api/privacy/cases/{case['id']}/export", OPS)
    assert (answer.status, answer.content_type) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        data, page = json.loads(archive.read("data.json")), archive.read("data.html").decode()
    assert {item["table"] for item in data["items"]} == {
        *(f"{source}.messages" for source in SOURCES),
        *("worker.orders", "worker.pixel_events", "ingest.quarantine"),
    }
    assert data["customer"]["email"] == ANNA.email
    for text in (json.dumps(data), page):
        assert all(word in text for word in ANNA.words())
        assert not any(word in text for other in (BEN, CLEO) for word in other.words())


async def test_a_data_request_is_open_until_its_file_was_fetched_and_is_over_then(one: World) -> None:
    await fill(one.pool)
    case = await ask(one)
    assert (case["ended_at"], case["request_id"]) == (None, 9999)
    assert case["receipt"]["outcome"] == "collected"
    await fetch(one, f"/api/privacy/cases/{case['id']}/export", OPS)
    assert (await one.ops(f"/api/privacy/cases/{case['id']}"))["status"] == "done"
    assert (await fetch(one, f"/api/privacy/cases/{case['id']}/export", OPS))[0].status == 200


async def test_a_merchant_sees_the_cases_of_their_own_shop_alone(one: World) -> None:
    ours, theirs = await ask(one, ANNA), await ask(one, CLEO)
    _, content = await fetch(one, "/api/privacy/cases", session_token(A))
    assert [case["id"] for case in json.loads(content)["cases"]] == [ours["id"]]
    for path, status in (
        (f"/{ours['id']}", 200),
        (f"/{theirs['id']}", 404),
        (f"/{theirs['id']}/export", 404),
    ):
        answer, _ = await fetch(one, f"/api/privacy/cases{path}", session_token(A))
        assert answer.status == status
    answer, _ = await fetch(one, f"/api/privacy/cases/{ours['id']}/export", session_token(A))
    assert answer.status == 200
    for token in ("", "wrong", session_token(A, secret="the client secret of somebody else")):
        assert (await fetch(one, "/api/privacy/cases", token))[0].status == 401


async def test_what_was_found_goes_when_the_customer_is_erased_before_it_was_fetched(one: World) -> None:
    await fill(one.pool)
    case = await ask(one)
    await one.redact(ANNA)
    assert holding(await dump(one.pool), ANNA.words()) == {}
    after = await one.ops(f"/api/privacy/cases/{case['id']}")
    assert (after["status"], after["reason"]) == ("superseded", "the customer was erased")
    assert (await fetch(one, f"/api/privacy/cases/{case['id']}/export", OPS))[0].status == 409


async def test_a_case_that_is_over_names_nobody_and_its_receipt_can_be_checked(one: World) -> None:
    case = await one.redact(ANNA)
    assert holding(await dump(one.pool), ANNA.words()) == {}
    keys = PrivacyKeys(SecretStr(SERVICE_KEY))
    verify(case["receipt"], keys.public)
    assert case["receipt"]["subject"] == keys.customer(A, "customer", str(ANNA.customer_id)).hex()
    with pytest.raises(InvalidReceipt):
        verify({**case["receipt"], "finished_at": "2026-01-01T00:00:00Z"}, keys.public)


async def test_the_gauges_show_what_is_open_and_since_when(one: World) -> None:
    await ask(one)

    async def shown() -> bool:
        async with one.client.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return 'privacy_request_open{kind="data_request"} 1.0' in lines

    await poll(shown, within=40)


async def test_a_case_or_a_filter_that_is_not_there_is_said(one: World) -> None:
    assert (await one.ops(f"/api/privacy/cases/{uuid4()}", 404))["type"].endswith("no-such-case")
    assert "one of" in (await one.ops("/api/privacy/cases?kind=wrong", 400))["detail"]
    assert (await one.ops("/api/privacy/cases?status=open"))["cases"] == []


@pytest.mark.skipif(not FIXTURES.exists(), reason="the real payloads are not here")
async def test_real_requests_of_all_three_topics_become_cases(one: World) -> None:
    files = sorted(path for topic in ("customers__data_request", "customers__redact", "shop__redact")
                   for path in FIXTURES.glob(f"{topic}*.json"))  # fmt: skip
    assert len(files) == 6
    for file in files:
        topic = file.name.split(".")[0].replace("__", ".")
        status = "ready" if "data_request" in topic else "done"
        case = await one.case(await one.accept(topic, json.loads(file.read_text()), A), status=status)
        assert case["receipt"]["signature"]
