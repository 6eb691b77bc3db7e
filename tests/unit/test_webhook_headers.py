from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.shopify.webhook_headers import (
    MAX_KEPT,
    MAX_LENGTH,
    Format,
    InvalidHeader,
    InvalidShop,
    MissingHeader,
    WebhookHeaders,
    message_type,
    present,
    read,
    safe_text,
)

CLASSIC = {
    "X-Shopify-Topic": "orders/create",
    "X-Shopify-Hmac-Sha256": "c2lnbmF0dXJl",
    "X-Shopify-Shop-Domain": "Shop.myshopify.com",
    "X-Shopify-API-Version": "2026-10",
    "X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    "X-Shopify-Event-Id": "98880550-7158-44d4-b7cd-2c97c8a091b5",
    "X-Shopify-Triggered-At": "2026-11-21T03:00:00.123456789Z",
    "X-Shopify-Name": "orders",
}
NEXT = {
    "shopify-topic": "Product",
    "shopify-hmac-sha256": "bmV4dA==",
    "shopify-shop-domain": "shop.myshopify.com",
    "shopify-api-version": "unstable",
    "shopify-webhook-id": "7d6c",
    "shopify-event-id": "91aa",
    "shopify-handle": "product-sync",
    "shopify-action": "update",
    "shopify-resource-id": "gid://shopify/Product/788032119674292922",
    "shopify-triggered-at": "2026-11-21T03:00:00+02:00",
}


def parsed(headers: dict[str, str]) -> WebhookHeaders:
    return read(present(headers.items()))


def test_reads_a_classic_delivery() -> None:
    assert parsed(CLASSIC) == WebhookHeaders(
        format=Format.CLASSIC,
        message_type="webhook.orders.create",
        topic="orders/create",
        shop="shop.myshopify.com",
        webhook_id="b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        event_id="98880550-7158-44d4-b7cd-2c97c8a091b5",
        api_version="2026-10",
        triggered_at=datetime(2026, 11, 21, 3, 0, 0, 123456, UTC),
        name="orders",
        action=None,
        resource_id=None,
    )


def test_reads_a_next_generation_delivery() -> None:
    assert parsed(NEXT) == WebhookHeaders(
        format=Format.NEXT,
        message_type="webhook.product.update",
        topic="Product",
        shop="shop.myshopify.com",
        webhook_id="7d6c",
        event_id="91aa",
        api_version="unstable",
        triggered_at=datetime(2026, 11, 21, 1, 0, tzinfo=UTC),
        name="product-sync",
        action="update",
        resource_id="gid://shopify/Product/788032119674292922",
    )


def test_next_generation_wins_where_a_request_has_both_families() -> None:
    found = present((CLASSIC | NEXT).items())
    assert (found.format, found.signature) == (Format.NEXT, "bmV4dA==")
    assert read(found).webhook_id == "7d6c"


def test_a_header_that_one_family_lacks_is_taken_from_the_other() -> None:
    headers = CLASSIC | {"shopify-hmac-sha256": "bmV4dA=="}
    assert parsed(headers).format is Format.NEXT
    assert parsed(headers).topic == "orders/create"
    assert (
        parsed(CLASSIC | {"shopify-resource-id": "gid://shopify/Order/1"}).resource_id
        == "gid://shopify/Order/1"
    )


def test_names_are_read_in_any_case() -> None:
    assert parsed({name.upper(): value for name, value in CLASSIC.items()}) == parsed(CLASSIC)


@pytest.mark.parametrize("name", ["Topic", "Hmac-Sha256", "Shop-Domain", "Webhook-Id"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_required_header_that_is_missing_or_empty_is_named(name: str, value: str | None) -> None:
    headers = CLASSIC.copy()
    if value is None:
        del headers[f"X-Shopify-{name}"]
    else:
        headers[f"X-Shopify-{name}"] = value
    with pytest.raises(MissingHeader, match=f"^X-Shopify-{name} is missing$"):
        present(headers.items())


def test_a_required_header_is_named_in_the_family_of_the_request() -> None:
    headers = {name: value for name, value in NEXT.items() if name != "shopify-webhook-id"}
    with pytest.raises(MissingHeader, match=r"^Shopify-Webhook-Id is missing$"):
        present(headers.items())


@pytest.mark.parametrize("name", ["API-Version", "Event-Id", "Triggered-At", "Name"])
def test_the_other_headers_may_be_missing_or_empty(name: str) -> None:
    without = {key: value for key, value in CLASSIC.items() if key != f"X-Shopify-{name}"}
    field = name.lower().replace("-", "_")
    assert getattr(parsed(without), field) is None
    assert getattr(parsed(CLASSIC | {f"X-Shopify-{name}": ""}), field) is None


def test_a_header_given_twice_is_refused() -> None:
    with pytest.raises(InvalidHeader, match="X-Shopify-Shop-Domain is given more than once"):
        present([*CLASSIC.items(), ("X-Shopify-Shop-Domain", "other.myshopify.com")])


def test_the_log_keeps_what_shopify_sent_but_no_signature_and_no_credential() -> None:
    others = {
        "User-Agent": "Shopify-Captain-Hook",
        "Content-Type": "application/json",
        "Authorization": "Bearer secret",
        "Cookie": "secret",
        "X-Forwarded-For": "1.2.3.4",
    }
    kept = present((CLASSIC | NEXT | others).items()).kept
    expected = {name.lower(): value for name, value in (CLASSIC | NEXT | others).items()}
    for dropped in (
        "x-shopify-hmac-sha256",
        "shopify-hmac-sha256",
        "authorization",
        "cookie",
        "x-forwarded-for",
    ):
        del expected[dropped]
    assert dict(kept) == expected
    assert "c2lnbmF0dXJl" not in repr(present(CLASSIC.items()))


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("orders/create", "webhook.orders.create"),
        ("customer.tags_added", "webhook.customer.tags_added"),
        ("Orders/Create", "webhook.orders.create"),
        ("app/uninstalled", "webhook.app.uninstalled"),
        ("something/nobody_has-heard-of", "webhook.something.nobody_has-heard-of"),
    ],
)
def test_any_topic_becomes_a_message_type(topic: str, expected: str) -> None:
    assert message_type(topic) == expected


def test_a_resource_and_its_action_become_a_message_type_of_their_own() -> None:
    assert message_type("Product", "update") == "webhook.product.update"
    assert message_type("Product") == "webhook.product"
    assert message_type("products/update") != message_type("Product", "update")


@pytest.mark.parametrize(
    "topic", ["orders create", "orders//create", "/orders", "orders/", "ord#rs", "*", "\u212a", "a..b"]
)
def test_a_topic_that_no_topic_looks_like_is_refused(topic: str) -> None:
    with pytest.raises(InvalidHeader, match="topic"):
        parsed(CLASSIC | {"X-Shopify-Topic": topic})


@pytest.mark.parametrize("shop", ["evil.com", "shop.myshopify.com.evil.com", "{shop}.myshopify.com"])
def test_a_shop_that_is_none_is_refused_by_name(shop: str) -> None:
    with pytest.raises(InvalidShop, match="Shop-Domain"):
        parsed(CLASSIC | {"X-Shopify-Shop-Domain": shop})


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("Topic", 129),
        ("Webhook-Id", 256),
        ("Event-Id", 256),
        ("API-Version", 65),
        ("Name", 256),
        ("Triggered-At", 256),
        ("Resource-Id", 513),
    ],
)
def test_an_absurdly_long_value_is_refused_by_name(name: str, length: int) -> None:
    headers = CLASSIC | {f"X-Shopify-{name}": "a" * length}
    with pytest.raises(InvalidHeader, match=f"(?i)^{name} is longer"):
        parsed(headers)
    if name not in ("Topic", "Triggered-At"):
        parsed(CLASSIC | {f"X-Shopify-{name}": "a" * (length - 1)})


def test_all_kept_headers_together_are_limited() -> None:
    many = {f"X-Shopify-Extra-{number}": "a" * 200 for number in range(MAX_KEPT // 200 + 1)}
    with pytest.raises(InvalidHeader, match="together"):
        parsed(CLASSIC | many)


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "1"]
)
def test_an_implausible_time_is_no_time(moment: str) -> None:
    assert parsed(CLASSIC | {"X-Shopify-Triggered-At": moment}).triggered_at is None


@given(st.text(st.characters()))
def test_text_becomes_what_postgres_can_store(text: str) -> None:
    safe = safe_text(text)
    assert "\0" not in safe
    safe.encode()  # no lone surrogates
    assert safe_text(safe) == safe
    if "\0" not in text and text.isascii():
        assert safe == text.strip()


names = st.sampled_from([*CLASSIC, *NEXT, "User-Agent", "X-Other"])


@given(st.lists(st.tuples(names, st.text(max_size=300)), max_size=20))
def test_any_headers_are_read_or_refused(headers: list[tuple[str, str]]) -> None:
    try:
        claims = read(present(headers))
    except (MissingHeader, InvalidHeader):
        return
    for field in fields(claims):
        value = getattr(claims, field.name)
        assert not isinstance(value, str) or ("\0" not in value and value.encode())


strange = st.sampled_from(["X-Shopify-Event-Id", "X-Shopify-Name", "X-Shopify-Anything", "User-Agent"])


@given(value=st.text(max_size=MAX_LENGTH), name=strange)
def test_a_strange_value_does_not_stop_a_delivery(name: str, value: str) -> None:
    found = present((CLASSIC | {name: value}).items())
    assert read(found).webhook_id == CLASSIC["X-Shopify-Webhook-Id"]
    assert found.kept[name.lower()] == safe_text(value)
