"""Session tokens: who is calling."""

import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.common.errors import ConfigurationError
from libs.common.shopify.session_token import (
    LEEWAY_SECONDS,
    MAX_LENGTH,
    InvalidSessionToken,
    SessionTokenVerifier,
    TokenFlaw,
)
from libs.common.shopify.signatures import Signer
from tests.session_tokens import CLIENT_ID, NOW, OLD_SECRET, SECRET, SHOP, claims, session_token, signed

VERIFIER = SessionTokenVerifier(CLIENT_ID, SECRET, OLD_SECRET)

json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


def flaw_of(text: str, verifier: SessionTokenVerifier = VERIFIER) -> TokenFlaw:
    with pytest.raises(InvalidSessionToken) as refused:
        verifier.read(text, NOW)
    return refused.value.flaw


@given(handle=st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True), user=st.integers(1, 2**62))
def test_tells_the_shop_and_the_user(handle: str, user: int) -> None:
    token = VERIFIER.read(session_token(shop=f"{handle}.myshopify.com", sub=str(user)), NOW)
    assert (token.shop, token.user_id, token.of_admin) == (f"{handle}.myshopify.com", user, True)
    assert token.expires_at == NOW + timedelta(seconds=60)
    assert (token.signer, token.token_id) == (Signer.CURRENT, claims()["jti"])
    assert token.text not in repr(token)


def test_tells_which_secret_signed() -> None:
    assert VERIFIER.read(session_token(OLD_SECRET), NOW).signer is Signer.OLD
    assert flaw_of(session_token(OLD_SECRET), SessionTokenVerifier(CLIENT_ID, SECRET)) is TokenFlaw.SIGNATURE
    assert flaw_of(session_token("x" * 32)) is TokenFlaw.SIGNATURE


@given(exp=st.integers(-200, 200), nbf=st.integers(-200, 200), iat=st.integers(-200, 200))
def test_is_believed_exactly_while_it_is_valid(exp: int, nbf: int, iat: int) -> None:
    now = int(NOW.timestamp())
    text = session_token(exp=now + exp, nbf=now + nbf, iat=now + iat)
    if exp <= -LEEWAY_SECONDS:
        assert flaw_of(text) is TokenFlaw.EXPIRED
    elif max(nbf, iat) > LEEWAY_SECONDS:
        assert flaw_of(text) is TokenFlaw.NOT_YET
    else:
        assert VERIFIER.read(text, NOW).shop == SHOP


def test_fractions_of_a_second_are_times_too() -> None:
    now = NOW.timestamp()
    assert VERIFIER.read(session_token(exp=now + 0.5, nbf=now - 0.5, iat=now - 0.5), NOW).shop == SHOP


@pytest.mark.parametrize("value", [None, True, "1795262400", [1], float("inf"), float("nan"), -1, 1e18])
def test_a_token_without_an_end_is_refused(value: object) -> None:
    assert flaw_of(session_token(exp=value)) is TokenFlaw.MALFORMED


@pytest.mark.parametrize("value", ["other", [CLIENT_ID], [CLIENT_ID, "other"], "", None, CLIENT_ID + " "])
def test_a_token_for_another_app_is_refused(value: object) -> None:
    assert flaw_of(session_token(aud=value)) is TokenFlaw.AUDIENCE


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"dest": "https://sandbox-002.myshopify.com"}, TokenFlaw.ISSUER),
        ({"iss": "https://sandbox-002.myshopify.com/admin"}, TokenFlaw.ISSUER),
        ({"dest": None}, TokenFlaw.ISSUER),
        ({"iss": None}, TokenFlaw.ISSUER),
        ({"iss": 1}, TokenFlaw.ISSUER),
        ({"dest": f"https://{SHOP}/admin"}, TokenFlaw.ISSUER),
        ({"dest": f"https://{SHOP}:443"}, TokenFlaw.ISSUER),
        ({"dest": f"https://x@{SHOP}"}, TokenFlaw.ISSUER),
        ({"dest": f"http://{SHOP}"}, TokenFlaw.ISSUER),
        ({"dest": f"https://{SHOP}?a"}, TokenFlaw.ISSUER),
        ({"dest": "https://evil.com", "iss": "https://evil.com/admin"}, TokenFlaw.SHOP),
        ({"dest": "https://admin.shopify.com"}, TokenFlaw.SHOP),
    ],
)
def test_a_token_speaks_for_the_shop_that_made_it(changes: dict[str, Any], flaw: TokenFlaw) -> None:
    assert flaw_of(session_token(**changes)) is flaw


@pytest.mark.parametrize(
    ("changes", "of_admin", "user_id"),
    [
        ({}, True, 42),
        ({"sub": "gid://shopify/Customer/42"}, True, None),
        ({"sub": None}, True, None),
        ({"sub": "\u0664\u0662"}, True, None),
        ({"sub": "9" * 30}, True, None),
        ({"iss": f"https://{SHOP}/checkouts"}, False, None),
        ({"iss": f"https://{SHOP}/admin/x"}, False, None),
        ({"iss": f"https://{SHOP}", "dest": SHOP, "sid": None}, False, None),
    ],
)
def test_only_the_admin_speaks_of_staff(changes: dict[str, Any], of_admin: bool, user_id: int | None) -> None:
    token = VERIFIER.read(session_token(**changes), NOW)
    assert (token.of_admin, token.user_id) == (of_admin, user_id)


@pytest.mark.parametrize("algorithm", ["none", "HS512", "RS256", "hs256"])
def test_the_token_does_not_choose_how_it_is_checked(algorithm: str) -> None:
    header, payload, signature = session_token().split(".")
    forged = urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).decode().rstrip("=")
    assert flaw_of(f"{forged}.{payload}.{signature}") is TokenFlaw.MALFORMED
    assert flaw_of(f"{forged}.{payload}.") is TokenFlaw.MALFORMED
    assert header != forged


@given(place=st.integers(0, 10_000), letter=st.sampled_from("AZaz09-_"))
def test_one_changed_letter_is_noticed(place: int, letter: str) -> None:
    token = session_token()
    place %= token.rindex(".")  # the last letter of the signature has bits that say nothing
    if token[place] != letter:
        changed = token[:place] + letter + token[place + 1 :]
        assert flaw_of(changed) in {TokenFlaw.MALFORMED, TokenFlaw.SIGNATURE}


@given(st.text() | st.text("\ud800\udfff\0é.=", min_size=1))
@example("..")
@example("e30.e30.")
@example("a" * (MAX_LENGTH + 1))
def test_whatever_is_presented_is_refused_and_nothing_else_is_raised(text: str) -> None:
    assert flaw_of(text) is TokenFlaw.MALFORMED


@given(
    st.dictionaries(
        st.sampled_from(["iss", "dest", "aud", "sub", "exp", "nbf", "iat", "sid", "jti"]), json_values
    )
)
def test_whatever_shopifys_key_signed_nothing_else_is_raised(changes: dict[str, Any]) -> None:
    text = signed(json.dumps(claims() | changes).encode())
    try:
        token = VERIFIER.read(text, NOW)
    except InvalidSessionToken:
        return
    assert token.shop == SHOP
    assert token.user_id is None or token.user_id >= 0


def test_a_payload_that_is_no_object_is_refused() -> None:
    assert flaw_of(signed(b"[]")) is TokenFlaw.MALFORMED
    assert flaw_of(signed(b"\xff")) is TokenFlaw.MALFORMED
    assert flaw_of(signed(b"[" * 3000)) is TokenFlaw.MALFORMED


@pytest.mark.parametrize(("client_id", "secret"), [("", SECRET), (CLIENT_ID, "")])
def test_an_empty_key_is_a_closed_door(client_id: str, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        SessionTokenVerifier(client_id, secret)
