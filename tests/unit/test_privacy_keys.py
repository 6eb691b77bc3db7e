"""Receipts are what was signed, and nothing else; marks tell nothing."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.errors import ConfigurationError
from libs.common.privacy.keys import InvalidReceipt, PrivacyKeys, verify

KEYS = PrivacyKeys(SecretStr("a key that all services share, long"))
OTHERS = PrivacyKeys(SecretStr("another key that others share, long"))
FACTS = {"case": "1", "steps": [{"rows": {"a.b": 3}}], "outcome": "erased"}


def test_a_receipt_is_genuine_also_after_a_way_through_json() -> None:
    verify(orjson.loads(orjson.dumps(dict(reversed(KEYS.sign(FACTS).items())))), KEYS.public)


@given(st.sampled_from(["case", "steps", "outcome", "key", "signature", "more"]), st.text())
def test_a_receipt_that_was_changed_is_not(name: str, value: str) -> None:
    with pytest.raises(InvalidReceipt):
        verify({**KEYS.sign(FACTS), name: value}, KEYS.public)


def test_a_receipt_of_another_installation_is_not() -> None:
    with pytest.raises(InvalidReceipt, match="names the key"):
        verify(OTHERS.sign(FACTS), KEYS.public)


def test_marks_differ_by_key_shop_and_kind() -> None:
    marks = {
        keys.customer(shop, kind, "1")
        for keys in (KEYS, OTHERS)
        for shop in ("a", "b")
        for kind in ("customer", "order")
    }
    assert len(marks) == 8
    assert KEYS.shop("a") == PrivacyKeys(SecretStr("a key that all services share, long")).shop("a")


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SERVICE_KEY"):
        PrivacyKeys(SecretStr("short"))
