import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from libs.common.shopify.signatures import webhook_signature
from services.webhooks.config import Settings
from services.webhooks.service import SHOP_FIELDS, Reason
from tests.environment import MakeSettings
from tests.integration.webhook_requests import ADDRESS, SHOP, Door, open_door

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "webhooks"
LIMIT = 20_000


@pytest.fixture
async def door(settings: MakeSettings, database: str) -> AsyncIterator[Door]:
    """The service with an old secret beside the current one, and a small limit."""
    chosen = settings(
        Settings, database_url=database, shopify_api_secret_old="the-old-one", webhook_body_limit_bytes=LIMIT
    )
    async with open_door(chosen) as opened:
        yield opened


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_delivery_is_stored_as_it_came(door: Door) -> None:
    body = b'{"id": 820982911946154508,\n  "note":"\\u0000 \xff not even UTF-8"}'
    response = await door.deliver(body, webhook_id="delivery-1", event_id="event-1")
    answer = await response.json()
    assert (response.status, answer["duplicate"]) == (200, False)
    row = await door.database.fetchrow("SELECT * FROM webhooks.messages WHERE id = $1", UUID(answer["id"]))
    assert row is not None
    assert bytes(row["body"]) == body
    kept = {"type": "webhook.orders.create", "shop": SHOP, "key": "delivery-1", "correlation_id": "event-1",
            "dataschema": "2026-10", "content_type": "application/json"}  # fmt: skip
    assert {name: row[name] for name in kept} == kept
    assert row["time"].isoformat() == "2026-11-21T03:00:00.123456+00:00"
    headers = json.loads(row["headers"])
    assert headers["x-shopify-topic"] == "orders/create"
    assert headers["user-agent"] == "Shopify-Captain-Hook"
    assert not [name for name in headers if "hmac" in name]
    assert await door.count("outbox") == 1


async def test_the_same_delivery_again_gets_the_same_id(door: Door) -> None:
    first = await (await door.deliver(webhook_id="again")).json()
    second = await (await door.deliver(webhook_id="again")).json()
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert first["id"] == second["id"]
    assert await door.count("messages") == await door.count("outbox") == 1


async def test_duplicates_at_the_same_moment_have_one_effect(door: Door) -> None:
    responses = await asyncio.gather(*(door.deliver(webhook_id=f"race-{n % 3}") for n in range(60)))
    answers = [await response.json() for response in responses]
    assert [response.status for response in responses] == [200] * 60
    assert len({answer["id"] for answer in answers}) == 3
    assert sum(not answer["duplicate"] for answer in answers) == 3
    assert await door.count("messages") == await door.count("outbox") == 3


async def test_the_same_webhook_id_of_another_shop_is_another_delivery(door: Door) -> None:
    await door.deliver(webhook_id="same")
    response = await door.deliver(webhook_id="same", shop_domain="other.myshopify.com")
    assert (await response.json())["duplicate"] is False


async def test_the_old_secret_still_opens_and_is_counted(door: Door) -> None:
    before = metric("webhook_verified_total", key="old")
    response = await door.deliver(b"{}", hmac_sha256=webhook_signature("the-old-one", b"{}"))
    assert response.status == 200
    assert metric("webhook_verified_total", key="old") == before + 1


async def test_a_next_generation_delivery_is_taken(door: Door) -> None:
    body = b'{"topic":"Product","action":"update"}'
    headers = {
        "shopify-topic": "Product",
        "shopify-hmac-sha256": door.headers(body)["X-Shopify-Hmac-Sha256"],
        "shopify-shop-domain": SHOP,
        "shopify-webhook-id": "next-1",
        "shopify-action": "update",
        "shopify-resource-id": "gid://shopify/Product/1",
    }
    assert (await door.send(body, headers)).status == 200
    row = await door.database.fetchrow("SELECT type, subject, headers FROM webhooks.messages")
    assert row is not None
    assert tuple(row)[:2] == ("webhook.product.update", "gid://shopify/Product/1")
    assert json.loads(row["headers"])["shopify-action"] == "update"


async def test_a_compressed_body_is_verified_and_kept_as_sent(door: Door) -> None:
    packed = gzip.compress(b"{}" * 1000)
    headers = door.headers(packed) | {"Content-Encoding": "gzip"}
    assert (await door.send(packed, headers)).status == 200
    assert await door.database.fetchval("SELECT body FROM webhooks.messages") == packed


# what is turned away


@pytest.mark.parametrize(
    "signature",
    [
        "bm90IGl0",
        "",
        " ",
        "not base64!",
        "h\u00e9",
        "=" * 2000,
        webhook_signature("another secret", b"{}"),
    ],
)
async def test_a_wrong_signature_is_401(door: Door, signature: str) -> None:
    response = await door.deliver(b"{}", hmac_sha256=signature)
    assert response.status == (401 if signature.strip() else 400)
    assert await door.count("messages") == 0


async def test_a_signature_over_other_bytes_is_401(door: Door) -> None:
    headers = door.headers(b'{"a":1}')
    assert (await door.send(b'{"a": 1}', headers)).status == 401


@pytest.mark.parametrize("name", ["topic", "hmac_sha256", "shop_domain", "webhook_id"])
async def test_a_missing_header_is_400_and_named(door: Door, name: str) -> None:
    response = await door.deliver(**{name: None})
    problem = await response.json()
    assert (response.status, problem["type"]) == (400, "urn:shopbus:problem:missing-header")
    assert name.replace("_", "-").title() in problem["detail"]


@pytest.mark.parametrize("name", ["api_version", "event_id", "triggered_at"])
async def test_other_headers_may_be_missing(door: Door, name: str) -> None:
    assert (await door.deliver(**{name: None})).status == 200


async def test_an_empty_body_is_400(door: Door) -> None:
    response = await door.deliver(b"")
    assert (response.status, (await response.json())["type"]) == (400, "urn:shopbus:problem:empty-body")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_post_is_answered(door: Door, method: str) -> None:
    async with door.client.request(method, ADDRESS) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_the_longest_body_is_taken_and_a_longer_one_is_413(door: Door) -> None:
    assert (await door.deliver(b"x" * LIMIT)).status == 200
    assert (await door.deliver(b"x" * (LIMIT + 1))).status == 413


async def test_chunks_over_the_limit_are_413(door: Door) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 100 + 1):
            yield b"x" * 100

    assert (await door.send(chunks(), door.headers(b"x"))).status == 413


async def test_chunks_within_the_limit_are_taken(door: Door) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"id":'
        yield b"1}"

    assert (await door.send(chunks(), door.headers(b'{"id":1}'))).status == 200


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"shop_domain": "evil.com"}, "invalid-shop"),
        ({"shop_domain": "shop.myshopify.com.evil.com"}, "invalid-shop"),
        ({"topic": "orders create"}, "invalid-header"),
        ({"webhook_id": "a" * 256}, "invalid-header"),
    ],
)
async def test_a_header_that_cannot_be_is_400(door: Door, changes: dict[str, str], kind: str) -> None:
    response = await door.deliver(**changes)
    assert (response.status, (await response.json())["type"]) == (400, f"urn:shopbus:problem:{kind}")


@pytest.mark.parametrize(
    ("body", "changes", "status"),
    [
        (b"x" * (LIMIT + 1), {"topic": None}, 413),  # the size before the headers
        (b"{}", {"topic": None, "hmac_sha256": "wrong"}, 400),  # presence before the signature
        (b"{}", {"hmac_sha256": "wrong", "shop_domain": "evil.com"}, 401),  # the signature before the rest
    ],
)
async def test_checks_come_in_order(
    door: Door, body: bytes, changes: dict[str, str | None], status: int
) -> None:
    assert (await door.deliver(body, **changes)).status == status


# a signed body in another shop's name


def topic_of(message_type: str) -> str:
    return message_type.removeprefix("webhook.").replace(".", "/")


@pytest.mark.parametrize(("message_type", "field"), SHOP_FIELDS.items())
@pytest.mark.parametrize(
    ("value", "status"),
    [
        (SHOP, 200),
        (SHOP.upper(), 200),
        ("{shop}.myshopify.com", 200),  # what Shopify's samples say
        (None, 200),
        ("victim.myshopify.com", 401),
    ],
)
async def test_the_body_must_not_name_another_shop(
    door: Door, message_type: str, field: str, value: str | None, status: int
) -> None:
    body = json.dumps({"id": 1, field: value}).encode()
    assert (await door.deliver(body, topic=topic_of(message_type))).status == status


@pytest.mark.parametrize("message_type", SHOP_FIELDS)
@pytest.mark.parametrize("body", [b'{"id": 1}', b"[]", b"null", b"not JSON", b"[" * 10_000])
async def test_an_order_cannot_be_replayed_as_an_uninstall(
    door: Door, message_type: str, body: bytes
) -> None:
    response = await door.deliver(body, topic=topic_of(message_type))
    assert (response.status, (await response.json())["type"]) == (401, "urn:shopbus:problem:shop-mismatch")


# every body there is


def recorded() -> list[Path]:
    return sorted(FIXTURES.glob("*.json"))


async def test_every_recorded_body_goes_in_unchanged(settings: MakeSettings, database: str) -> None:
    if not recorded():
        pytest.skip("the sample deliveries are not here")
    async with open_door(settings(Settings, database_url=database)) as door:
        for path in recorded():
            body, topic = path.read_bytes(), path.name.split(".json")[0].rstrip("0123456789").rstrip(".")
            shop = json.loads(body).get("myshopify_domain") or SHOP
            response = await door.deliver(body, topic=topic.replace("__", "/"), shop_domain=shop)
            assert response.status == 200, path.name
            message = UUID((await response.json())["id"])
            stored = await door.database.fetchval("SELECT body FROM webhooks.messages WHERE id = $1", message)
            assert stored == body, path.name


# what is counted


async def test_every_request_is_counted_once(door: Door) -> None:
    labels = {"topic": "orders/create", "format": "classic"}
    names = ("webhook_received_total", "webhook_accepted_total", "webhook_duplicate_total")
    before = [metric(name, **labels) for name in names]
    rejected = metric("webhook_rejected_total", reason="hmac")
    trigger = metric("webhook_trigger_to_receipt_seconds_count", topic="orders/create")
    await door.deliver(webhook_id="counted")
    await door.deliver(webhook_id="counted")
    await door.deliver(hmac_sha256="wrong")
    assert [metric(name, **labels) for name in names] == [before[0] + 3, before[1] + 1, before[2] + 1]
    assert metric("webhook_rejected_total", reason="hmac") == rejected + 1
    assert metric("webhook_trigger_to_receipt_seconds_count", topic="orders/create") == trigger + 1


async def test_strangers_cannot_make_new_topic_labels(door: Door) -> None:
    before = metric("webhook_received_total", topic="other", format="classic")
    for number in range(3):
        await door.deliver(topic=f"made-up/{number}", hmac_sha256="wrong")
    assert metric("webhook_received_total", topic="other", format="classic") == before + 3


def test_every_cause_has_a_status_or_is_ours() -> None:
    from services.webhooks.routes import STATUS  # noqa: PLC0415

    assert set(Reason) - set(STATUS) == {Reason.DATABASE_AWAY, Reason.FAULT}
