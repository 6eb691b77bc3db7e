"""A delivery carries Shopify's headers and a signature over its exact body."""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest

from libs.common.clock import SystemClock
from services.sandbox.deliveries import Delivery, Format, Plan, Signer, sandbox_shops, store_domain

SECRET = b"hush"
BODY = b'{"id":1,"text":"\\u0026 \xff"}'
DELIVERY = Delivery(
    topic="products/update",
    shop="sandbox-001.myshopify.com",
    body=BODY,
    triggered_at=datetime(2026, 11, 21, 8, 30, 1, 250_000, tzinfo=UTC),
    webhook_id="webhook-1",
    event_id="event-1",
    resource_id="gid://shopify/Product/1",
)


def plan(**changes: object) -> Plan:
    settings = {"topic": "orders/create", "shops": sandbox_shops(3), "seed": 1, "clock": SystemClock()}
    return Plan(**{**settings, **changes})  # type: ignore[arg-type]


def test_classic_headers() -> None:
    signature = base64.b64encode(hmac.new(SECRET, BODY, hashlib.sha256).digest()).decode()
    assert Signer(SECRET, "2026-10").headers(DELIVERY) == {
        "Content-Type": "application/json",
        "X-Shopify-Topic": "products/update",
        "X-Shopify-Hmac-Sha256": signature,
        "X-Shopify-Shop-Domain": "sandbox-001.myshopify.com",
        "X-Shopify-API-Version": "2026-10",
        "X-Shopify-Webhook-Id": "webhook-1",
        "X-Shopify-Event-Id": "event-1",
        "X-Shopify-Triggered-At": "2026-11-21T08:30:01.250000000Z",
    }


def test_next_generation_headers_name_the_resource_and_the_action() -> None:
    headers = Signer(SECRET, "2026-10", Format.NEXT).headers(DELIVERY)
    classic = Signer(SECRET, "2026-10").headers(DELIVERY)
    assert headers["shopify-hmac-sha256"] == classic["X-Shopify-Hmac-Sha256"]
    assert headers["shopify-topic"] == "Product"
    assert headers["shopify-action"] == "update"
    assert headers["shopify-resource-id"] == "gid://shopify/Product/1"
    assert headers["shopify-webhook-id"] == "webhook-1"
    assert not any(name.startswith("X-") for name in headers)


def test_a_signer_does_not_show_its_secret() -> None:
    assert "hush" not in repr(Signer(SECRET, "2026-10"))


def test_the_signature_changes_with_secret_and_body() -> None:
    other_secret = Signer(b"other", "2026-10").headers(DELIVERY)
    other_body = Delivery(**{name: getattr(DELIVERY, name) for name in DELIVERY.__slots__} | {"body": b"{}"})
    signatures = {
        headers["X-Shopify-Hmac-Sha256"]
        for headers in (
            Signer(SECRET, "2026-10").headers(DELIVERY),
            other_secret,
            Signer(SECRET, "2026-10").headers(other_body),
        )
    }
    assert len(signatures) == 3


def test_every_delivery_has_ids_of_its_own() -> None:
    deliveries = [plan().delivery(number) for number in range(50)]
    ids = {delivery.webhook_id for delivery in deliveries} | {delivery.event_id for delivery in deliveries}
    assert len(ids) == 100
    assert all(str(UUID(identifier)) == identifier for identifier in ids)


def test_deliveries_go_round_the_shops() -> None:
    assert [plan().delivery(number).shop for number in range(4)] == [*sandbox_shops(3), *sandbox_shops(1)]


def test_a_body_of_ones_own_is_not_touched() -> None:
    assert plan(body=b"\x00 not json").delivery(0).body == b"\x00 not json"


def test_a_next_generation_body_is_an_event_about_the_resource() -> None:
    delivery = plan(format=Format.NEXT).delivery(0)
    body = json.loads(delivery.body)
    assert body["topic"] == "Order"
    assert body["data"]["admin_graphql_api_id"] == delivery.resource_id


def test_sandbox_shops_are_named_by_number() -> None:
    assert sandbox_shops(7)[-1] == "sandbox-007.myshopify.com"
    assert all(re.fullmatch(r"sandbox-\d{3,}\.myshopify\.com", shop) for shop in sandbox_shops(1_200))


@pytest.mark.parametrize("name", ["sandbox-007", "sandbox-007.myshopify.com"])
def test_a_short_name_stands_for_the_domain(name: str) -> None:
    assert store_domain(name) == "sandbox-007.myshopify.com"
