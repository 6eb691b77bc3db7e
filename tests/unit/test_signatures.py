import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.common.errors import ConfigurationError
from libs.common.shopify.signatures import Signer, WebhookVerifier, webhook_signature

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"

# RFC 4231 test case 2: key "Jefe", data "what do ya want for nothing?".
RFC_4231 = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")

secrets = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


def test_signature_is_the_hmac_of_rfc_4231_in_base64() -> None:
    assert webhook_signature("Jefe", b"what do ya want for nothing?") == base64.b64encode(RFC_4231).decode()


def test_a_recorded_delivery_verifies_byte_for_byte() -> None:
    recorded = FIXTURES / "webhooks" / "orders__create.json"
    if not recorded.exists():
        pytest.skip("the sample deliveries are not here")
    key = "b5b491c3d728f74e031cecd79905cbff6feba4ed2c73c95785b07466225250b1"
    signature = "hHLYpiQFYsCO82YZ3h7OuNsYg3QBY2VlLu25L5A7NXA="
    assert WebhookVerifier(key).signer(recorded.read_bytes(), signature) is Signer.CURRENT
    assert WebhookVerifier(key).signer(recorded.read_bytes() + b"\n", signature) is Signer.NONE


@given(secret=secrets, body=st.binary())
def test_agrees_with_the_standard_library(secret: str, body: bytes) -> None:
    expected = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
    assert webhook_signature(secret, body).encode() == expected
    assert WebhookVerifier(secret).signer(body, expected) is Signer.CURRENT


@given(body=st.binary(min_size=1), place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_changed_bit_of_the_body_is_noticed(body: bytes, place: int, bit: int) -> None:
    changed = bytearray(body)
    changed[place % len(body)] ^= 1 << bit
    signature = webhook_signature("secret", body)
    assert WebhookVerifier("secret").signer(bytes(changed), signature) is Signer.NONE


@given(body=st.binary(), signature=st.text() | st.binary() | st.text("\ud800\udfff\0é=", min_size=1))
@example(body=b"{}", signature="\udce9\udcff")  # how aiohttp hands over header bytes that are not UTF-8
@example(body=b"{}", signature="")
@example(body=b"{}", signature="not base64!")
def test_whatever_is_presented_never_raises_and_never_passes(body: bytes, signature: str | bytes) -> None:
    assert WebhookVerifier("secret", "old").signer(body, signature) is Signer.NONE


def test_tells_which_secret_signed_while_two_are_active() -> None:
    verifier = WebhookVerifier("new", "old")
    assert verifier.signer(b"{}", webhook_signature("new", b"{}")) is Signer.CURRENT
    assert verifier.signer(b"{}", webhook_signature("old", b"{}")) is Signer.OLD
    assert verifier.signer(b"{}", webhook_signature("other", b"{}")) is Signer.NONE
    assert WebhookVerifier("new").signer(b"{}", webhook_signature("old", b"{}")) is Signer.NONE


def test_one_verifier_serves_any_number_of_bodies() -> None:
    verifier = WebhookVerifier("secret")
    for number in range(3):
        body = str(number).encode()
        assert verifier.signer(body, webhook_signature("secret", body)) is Signer.CURRENT


@pytest.mark.parametrize(
    ("secret", "old", "named"),
    [
        ("", None, "SHOPIFY_API_SECRET is empty"),
        ("  ", None, "SHOPIFY_API_SECRET is empty"),
        ("secret", "", "SHOPIFY_API_SECRET_OLD is empty"),
    ],
)
def test_an_empty_secret_is_a_closed_door(secret: str, old: str | None, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        WebhookVerifier(secret, old)


def test_a_verifier_does_not_show_its_secret() -> None:
    assert "hush" not in repr(WebhookVerifier("hush"))
