"""What Shopify really answered, read and written by the models of the data endpoints."""

from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from services.worker.data_models import Customer, MoneyBag, Order, Product, Some, Transaction, Variant
from tests.recorded_answers import recording, recordings_needed


def written(model: Any) -> dict[str, Any]:
    shown: dict[str, Any] = orjson.loads(model.model_dump_json())
    return shown


@recordings_needed
def test_recorded_products_are_read() -> None:
    edges = recording("products_page.json")["data"]["products"]["edges"]
    shown = [written(Product.model_validate(edge["node"])) for edge in edges]
    assert shown[0] == {
        "id": "8971842846953", "gid": "gid://shopify/Product/8971842846953", "title": "Test Product - 6635",
        "handle": "test-product-ge91cbbd6", "status": "ACTIVE", "vendor": "very-big-test-store", "product_type": "",
        "tags": [], "total_inventory": 0, "created_at": "2025-07-01T23:57:25Z", "updated_at": "2026-04-18T00:58:21Z",
        "published_at": None,
    }  # fmt: skip


@recordings_needed
def test_recorded_customers_are_read_with_address_and_number() -> None:
    edges = recording("customers_catalog.json")["data"]["customers"]["edges"]
    shown = [written(Customer.model_validate({"tags": [], **edge["node"]})) for edge in edges]
    assert (shown[0]["email"], shown[0]["phone"]) == ("karine.ruby@example.com", "+16135550142")
    assert (shown[0]["number_of_orders"], shown[0]["amount_spent"]["amount"]) == (13, "11884.9")


@recordings_needed
def test_recorded_orders_lack_only_what_was_not_asked_for() -> None:
    node = recording("orders_catalog.json")["data"]["seedCatalog"]["nodes"][0]
    with pytest.raises(ValidationError) as refused:
        Order.model_validate(node)
    assert {error["type"] for error in refused.value.errors()} == {"missing"}
    total = node["currentTotalPriceSet"]
    rest = {"processedAt": node["createdAt"], "currencyCode": "CAD", "test": False}
    more = {"totalPriceSet": total, "totalRefundedSet": total}
    shown = written(Order.model_validate(node | rest | more))
    assert (shown["id"], shown["current_total_price_set"]["shop_money"]["amount"]) == (
        "8837991727410",
        "55.0",
    )


@recordings_needed
def test_recorded_transactions_and_both_currencies_are_read() -> None:
    order = recording("orderCreate_with_transactions.json")["data"]["orderCreate"]["order"]
    rest = {"createdAt": "2026-07-04T10:58:31Z", "test": False}
    shown = written(Transaction.model_validate(order["transactions"][0] | rest))
    assert (shown["kind"], shown["amount_set"]["shop_money"]["amount"]) == ("AUTHORIZATION", "31.9")
    other = recording("orderCreate_presentment_money.json")["data"]["orderCreate"]["order"]
    bag = MoneyBag.model_validate(other["subtotalPriceSet"])
    assert bag.presentment_money is not None
    assert (bag.shop_money.amount, bag.presentment_money.amount) == (Decimal("10.0"), Decimal("7.0"))


def test_what_is_null_stays_null_and_what_has_no_contact_is_read() -> None:
    facts: dict[str, Any] = {
        "id": "gid://shopify/Customer/1", "displayName": "A", "state": "DISABLED", "locale": "en", "tags": [],
        "numberOfOrders": "0", "amountSpent": {"amount": "0.0", "currencyCode": "CAD"}, "defaultEmailAddress": None,
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    shown = written(Customer.model_validate(facts))
    assert (shown["email"], shown["phone"], shown["first_name"]) == (None, None, None)


def test_a_list_of_parts_says_that_there_are_more() -> None:
    given = {"nodes": [], "pageInfo": {"hasNextPage": True}}
    assert written(Some[Variant].model_validate(given)) == {"nodes": [], "has_more": True}


@pytest.mark.parametrize("amount", ["0.1", "12345678901234567890.12", "-3.00"])
def test_money_leaves_as_it_came(amount: str) -> None:
    bag = {"shopMoney": {"amount": amount, "currencyCode": "EUR"}}
    assert written(MoneyBag.model_validate(bag))["shop_money"]["amount"] == amount
