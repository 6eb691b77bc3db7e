"""The models know what Shopify sends, keep what they do not know, and the cheap check agrees with them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from libs.common.shopify.pixel_check import fits
from libs.common.shopify.pixel_events import event
from libs.common.shopify.pixel_payloads import STANDARD, CheckoutData, Money
from libs.common.shopify.pixel_values import plain_id
from tests.pixel_fixtures import PIXELS

FILES = sorted(PIXELS.glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_known_event_fits_its_model_and_loses_nothing_in_it(file: Path) -> None:
    given_event = orjson.loads(file.read_bytes())
    model = event(given_event)
    assert fits(given_event["name"], given_event.get("data"))
    told = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert _leaves(told) == _leaves(given_event)


def test_amounts_are_what_was_written_and_never_a_float() -> None:
    money = Money.model_validate({"amount": 42.99, "currencyCode": "EUR"})
    assert money.amount == Decimal("42.99")
    assert Money.model_validate({"amount": "0.10"}).amount == Decimal("0.10")


def test_ids_are_the_same_in_each_of_their_spellings() -> None:
    assert plain_id("gid://shopify/Order/5") == plain_id(5) == plain_id("5") == "5"
    assert plain_id("gid://shopify/Cart/c1-a?key=x") == "c1-a"
    assert plain_id("anything else") == "anything else"
    order = {"checkout": {"order": {"id": "gid://shopify/OrderIdentity/5396439498987"}}}
    found = CheckoutData.model_validate(order)
    assert found.checkout is not None
    assert found.checkout.order is not None
    assert found.checkout.order.id == "5396439498987"


@pytest.mark.parametrize("name", STANDARD)
def test_all_of_an_event_may_be_missing(name: str) -> None:
    for data in ({}, None, dict.fromkeys(_names(name))):
        assert fits(name, data)
        event({"id": "1", "name": name, "timestamp": "2026-11-21T12:00:00Z", "data": data})


def test_unknown_events_carry_what_they_like() -> None:
    assert fits("my_event", ["anything"])
    custom = event({"id": "1", "name": "cart_viewed", "type": "custom", "timestamp": 1, "customData": [1]})
    assert custom.custom_data == [1]


ODD = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)
DATA = st.sampled_from(sorted(STANDARD)).flatmap(
    lambda name: st.tuples(st.just(name), st.dictionaries(st.sampled_from(_names(name) or ["x"]), ODD))
)


@given(DATA)
def test_what_the_cheap_check_lets_pass_the_model_can_read(case: tuple[str, dict[str, Any]]) -> None:
    name, data = case
    if fits(name, data):
        STANDARD[name].model_validate(data)
    else:
        with pytest.raises(ValidationError):
            STANDARD[name].model_validate(data, strict=True)


def _names(name: str) -> list[str]:
    return [str(field.alias) for field in STANDARD[name].model_fields.values()]


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    """Every scalar by its path; amounts, ids and times in one spelling."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _leaves(inner, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {k: v for n, inner in enumerate(value) for k, v in _leaves(inner, f"{path}/{n}").items()}
    if path.endswith("/amount"):
        return {path: str(Decimal(str(value)).normalize())}
    if path == "/timestamp":
        return {path: "a time"}
    return {path: str(plain_id(value))}
