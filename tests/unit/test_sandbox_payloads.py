"""Payloads have Shopify's shape and spelling, and follow from their seed."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.sandbox.payloads import (
    BUILDERS,
    UnknownTopic,
    action_of,
    check_topic,
    encode,
    event,
    payload,
    resource_of,
)

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
SHOP = "sandbox-007.myshopify.com"
GENERIC = ("themes/publish", "customer.tags_added")


def made(
    topic: str, *, seed: int = 1, number: int = 3, shop: str = SHOP, now: datetime = NOW
) -> dict[str, Any]:
    return payload(topic, shop, seed=seed, number=number, now=now)


def every_value(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in every_value(inner, name)]
    if isinstance(value, list):
        return [found for inner in value for found in every_value(inner, key)]
    return [(key, value)]


@pytest.mark.parametrize("topic", [*BUILDERS, *GENERIC])
def test_the_same_seed_makes_the_same_payload_and_another_one_does_not(topic: str) -> None:
    assert encode(made(topic)) == encode(made(topic))
    if topic not in {"shop/redact", "shop/update", "app/uninstalled", "app/scopes_update"}:
        assert made(topic) != made(topic, seed=2)
        assert made(topic) != made(topic, number=4)


@pytest.mark.parametrize("topic", [*BUILDERS, *GENERIC])
def test_every_payload_decodes_to_what_was_built(topic: str) -> None:
    assert json.loads(encode(made(topic))) == made(topic)


@pytest.mark.parametrize("topic", [*BUILDERS, *GENERIC])
def test_times_carry_a_zone_and_none_lies_in_the_future(topic: str) -> None:
    times = [value for name, value in every_value(made(topic)) if name.endswith("_at") and value is not None]
    assert all(datetime.fromisoformat(text).utcoffset() is not None for text in times)
    assert all(datetime.fromisoformat(text) <= NOW for text in times)


@pytest.mark.parametrize("topic", [*BUILDERS, *GENERIC])
def test_money_is_a_decimal_string(topic: str) -> None:
    names = re.compile(r"^(?!has_)(.*_)?(price|amount|subtotal|tax|outstanding|discounts|spent)$")
    money = [value for name, value in every_value(made(topic)) if names.search(name) and value is not None]
    assert all(isinstance(text, str) and re.fullmatch(r"-?\d+\.\d\d", text) for text in money)


def test_ids_of_resources_need_64_bits() -> None:
    for topic in BUILDERS:
        identifier = made(topic).get("id")
        if isinstance(identifier, int) and topic not in {
            "shop/update",
            "app/uninstalled",
            "app/scopes_update",
        }:
            assert 2**53 < identifier < 2**63, topic
            assert int(float(identifier)) != identifier or identifier % 1024 == 0


@pytest.mark.parametrize("number", range(20))
def test_an_orders_totals_add_up(number: int) -> None:
    order = made("orders/create", number=number)
    lines = sum(Decimal(item["price"]) * item["quantity"] for item in order["line_items"])
    delivery = Decimal(order["shipping_lines"][0]["price"])
    assert lines == Decimal(order["subtotal_price"])
    assert lines + Decimal(order["total_tax"]) + delivery == Decimal(order["total_price"])
    assert order["total_price_set"]["shop_money"]["amount"] == order["total_price"]


@pytest.mark.parametrize("number", range(20))
def test_an_order_is_of_a_realistic_size(number: int) -> None:
    assert 3_000 < len(encode(made("orders/create", number=number))) < 7_000


def test_all_topics_about_an_order_speak_of_the_same_order() -> None:
    topics = ("orders/create", "orders/updated", "orders/paid", "orders/cancelled", "orders/delete")
    assert len({made(topic)["id"] for topic in topics}) == 1
    assert made("refunds/create")["order_id"] == made("orders/create")["id"]
    assert made("orders/paid")["line_items"] == made("orders/create")["line_items"]


@pytest.mark.parametrize("kind", ["products", "customers"])
def test_a_deletion_names_the_resource_that_was_created(kind: str) -> None:
    assert made(f"{kind}/delete") == {"id": made(f"{kind}/create")["id"]}


def test_an_order_tells_its_state() -> None:
    assert made("orders/create")["financial_status"] == "pending"
    assert made("orders/paid")["financial_status"] == "paid"
    cancelled = made("orders/cancelled")
    assert cancelled["cancelled_at"] is not None
    assert cancelled["cancel_reason"] is not None


def test_a_later_update_carries_a_later_time() -> None:
    later = made("orders/updated", now=NOW + timedelta(minutes=1))
    assert datetime.fromisoformat(later["updated_at"]) > datetime.fromisoformat(
        made("orders/updated")["updated_at"]
    )


def test_a_refund_is_of_one_of_the_orders_lines() -> None:
    line = made("refunds/create")["refund_line_items"][0]
    assert line["line_item_id"] in {item["id"] for item in made("orders/create")["line_items"]}


@pytest.mark.parametrize("topic", ["shop/redact", "customers/redact", "customers/data_request"])
def test_compliance_topics_name_the_shop(topic: str) -> None:
    assert made(topic)["shop_domain"] == SHOP


@pytest.mark.parametrize("topic", ["shop/update", "app/uninstalled"])
def test_lifecycle_topics_carry_the_shop_itself(topic: str) -> None:
    assert made(topic)["myshopify_domain"] == SHOP
    assert made(topic)["id"] == made("shop/redact")["shop_id"]


def test_two_shops_are_not_the_same_shop() -> None:
    assert made("shop/update")["id"] != made("shop/update", shop="sandbox-008.myshopify.com")["id"]


def test_checkouts_and_orders_have_no_checkout_id() -> None:
    assert "id" not in made("checkouts/create")
    assert "checkout_id" not in made("orders/create")


def test_an_unknown_topic_gets_what_most_resources_have() -> None:
    theme = made("themes/publish")
    assert theme["admin_graphql_api_id"] == f"gid://shopify/Theme/{theme['id']}"


def test_json_is_spelled_as_shopify_spells_it() -> None:
    body = encode({"url": "https://a/b?c=1&d=<2>", "text": "Tür\u2028"})
    assert (
        body == rb'{"url":"https:\/\/a\/b?c=1\u0026d=\u003c2\u003e","text":"T' + "ür".encode() + rb'\u2028"}'
    )


def test_real_payloads_meet_both_escapes() -> None:
    body = encode(made("orders/create"))
    assert rb"gid:\/\/shopify\/Order\/" in body
    assert rb"\u0026" in body
    assert b"://" not in body


def test_an_event_wraps_the_resource() -> None:
    product = made("products/update")
    wrapped = event("products/update", product)
    assert (wrapped["topic"], wrapped["action"]) == ("Product", "update")
    assert wrapped["data"] == product
    assert set(wrapped["fields_changed"]) == {"added", "updated", "removed"}


@pytest.mark.parametrize(
    ("topic", "resource", "action"),
    [
        ("products/create", "Product", "create"),
        ("orders/updated", "Order", "update"),
        ("customers/delete", "Customer", "delete"),
        ("inventory_levels/update", "InventoryLevel", "update"),
        ("app/uninstalled", "App", "delete"),
        ("customer.tags_added", "Customer", "update"),
    ],
)
def test_topics_translate_to_resources_and_actions(topic: str, resource: str, action: str) -> None:
    assert (resource_of(topic), action_of(topic)) == (resource, action)


@pytest.mark.parametrize(
    "topic", ["", "orders", "Orders/Create", "orders/", "/create", "a b/c", "orders/create\n"]
)
def test_what_cannot_be_a_topic_is_refused(topic: str) -> None:
    with pytest.raises(UnknownTopic):
        check_topic(topic)
