"""The proof with which services call each other."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.errors import ConfigurationError
from libs.common.service_token import LEEWAY_SECONDS, LIFE_SECONDS, InvalidServiceToken, ServiceKey

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEXT = "k" * 64
KEY = ServiceKey(SecretStr(TEXT))


def refused(token: str, *, key: ServiceKey = KEY, audience: str = "auth", now: datetime = NOW) -> bool:
    with pytest.raises(InvalidServiceToken):
        key.caller(token, audience=audience, now=now)
    return True


def test_names_the_caller() -> None:
    token = KEY.mint(caller="worker", audience="auth", now=NOW)
    assert KEY.caller(token, audience="auth", now=NOW) == "worker"


@given(st.integers(-300, 300))
def test_lives_for_a_minute(seconds: int) -> None:
    token, then = KEY.mint(caller="worker", audience="auth", now=NOW), NOW + timedelta(seconds=seconds)
    if -LEEWAY_SECONDS <= seconds < LIFE_SECONDS + LEEWAY_SECONDS:
        assert KEY.caller(token, audience="auth", now=then) == "worker"
    else:
        assert refused(token, now=then)


def test_opens_no_other_door() -> None:
    token = KEY.mint(caller="worker", audience="auth", now=NOW)
    assert refused(token, audience="webhooks")
    assert refused(token, key=ServiceKey(SecretStr("x" * 64)))


def test_only_what_was_made_as_a_service_token_is_one() -> None:
    moment = int(NOW.timestamp())
    claims = {"iss": "worker", "aud": "auth", "exp": moment + 60}
    assert refused(jwt.encode(claims, TEXT, algorithm="HS256"))
    kind = {"typ": "shopbus-service+jwt"}
    assert KEY.caller(jwt.encode(claims, TEXT, "HS256", kind), audience="auth", now=NOW) == "worker"
    assert refused(jwt.encode(claims, TEXT, "HS512", kind))
    assert refused(jwt.encode(claims | {"exp": moment + 10**6}, TEXT, "HS256", kind))
    for name in claims:
        assert refused(jwt.encode({k: v for k, v in claims.items() if k != name}, TEXT, "HS256", kind))


@given(st.text() | st.text("\ud800\udfff\0é.=", min_size=1))
def test_whatever_is_presented_is_refused_and_nothing_else_is_raised(token: str) -> None:
    assert refused(token)


@pytest.mark.parametrize("text", ["", "short", "k" * 31])
def test_a_key_that_could_be_guessed_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SERVICE_KEY is shorter than 32 bytes"):
        ServiceKey(SecretStr(text))
