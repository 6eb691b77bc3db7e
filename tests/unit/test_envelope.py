"""A message is its raw bytes; reading them is the handler's wish, and a lie in them is told."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.envelope import InvalidBody, Message

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text("abc"), children, max_size=3),
    max_leaves=10,
)


def message(body: bytes) -> Message:
    return Message(
        UUID(int=1),
        "webhook.orders.create",
        "webhooks",
        "a.myshopify.com",
        datetime(2026, 11, 21, tzinfo=UTC),
        body,
    )


@given(JSON)
def test_a_json_body_is_read(value: object) -> None:
    assert message(orjson.dumps(value)).json() == value


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"nan", b'{"a": 1} tail', b"\x00"])
def test_a_body_that_is_no_json_is_an_invalid_body(body: bytes) -> None:
    with pytest.raises(InvalidBody, match=r"webhook\.orders\.create is not JSON"):
        message(body).json()


def test_the_error_of_an_invalid_body_does_not_quote_it() -> None:
    with pytest.raises(InvalidBody) as caught:
        message(b'{"email": jane@example.com}').json()
    assert "jane" not in str(caught.value)


def test_a_message_in_hand_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        message(b"{}").body = b"other"  # type: ignore[misc]
    assert message(b"{}").attempt == 1
