"""What the token endpoint is asked, and what its answers mean."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import ConfigurationError
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.token_answers import (
    LONGEST_RETRY_AFTER,
    Grant,
    Granted,
    Misconfigured,
    Outcome,
    Refused,
    Unsettled,
    read_answer,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
APP = AppCredentials("id", "secret")
OFFLINE = {
    "access_token": "shpat_1",
    "scope": "write_orders,read_products",
    "expires_in": 3600,
    "refresh_token": "shprt_1",
    "refresh_token_expires_in": 7776000,
}
ONLINE = {
    "access_token": "shpua_1",
    "scope": "write_orders",
    "expires_in": 86399,
    "associated_user_scope": "read_orders",
    "associated_user": {
        "id": 902541635,
        "first_name": "John",
        "last_name": "Smith",
        "email": "john@example.com",
        "email_verified": True,
        "account_owner": True,
        "locale": "en",
        "collaborator": False,
    },
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def answer(body: object, status: int = 200, grant: Grant = Grant.REFRESH, **headers: str) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(grant, status, named, raw, asked_at=NOW)


def granted(body: object, grant: Grant = Grant.REFRESH) -> Granted:
    found = answer(body, grant=grant)
    assert isinstance(found, Granted)
    return found


@pytest.mark.parametrize("grant", Grant)
def test_an_offline_token_comes_with_its_refresh_token(grant: Grant) -> None:
    assert granted(OFFLINE, grant) == Granted(
        access_token="shpat_1",
        scopes=Scopes.parse("read_products,write_orders"),
        expires_at=NOW + timedelta(hours=1),
        refresh_token="shprt_1",
        refresh_expires_at=NOW + timedelta(days=90),
    )


def test_an_online_token_is_known_by_its_user() -> None:
    token = granted(ONLINE, Grant.EXCHANGE)
    assert token.user is not None
    assert (token.user.id, token.user.email, token.user.email_verified) == (
        902541635,
        "john@example.com",
        True,
    )
    assert (token.user.scopes, token.refresh_token) == (Scopes.parse("read_orders"), None)
    assert token.expires_at == NOW + timedelta(seconds=86399)


@pytest.mark.parametrize("value", ["3600", 3600.0, 3600.9, " 3600 "])
def test_numbers_may_come_as_text(value: object) -> None:
    token = granted(OFFLINE | {"expires_in": value})
    assert (token.expires_at, token.assumed_expiry) == (NOW + timedelta(hours=1), False)
    user = ONLINE | {"associated_user": {"id": "902541635"}}
    found = granted(user, Grant.EXCHANGE).user
    assert found is not None
    assert (found.id, found.email_verified) == (902541635, False)


@given(
    value=st.none()
    | st.booleans()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(max_value=0)
    | st.lists(st.text())
)
def test_no_token_is_for_ever(value: object) -> None:
    token = granted(OFFLINE | {"expires_in": value, "refresh_token_expires_in": value})
    assert NOW <= token.expires_at <= NOW + timedelta(days=366)
    assert token.refresh_expires_at is not None
    assert NOW < token.refresh_expires_at <= NOW + timedelta(days=366)


@pytest.mark.parametrize("value", [0, -1, "-1", 0.0, -0.5, "0"])
def test_a_life_of_nothing_has_ended_already(value: object) -> None:
    token = granted(OFFLINE | {"expires_in": value})
    assert (token.expires_at, token.assumed_expiry) == (NOW, False)


@pytest.mark.parametrize("value", [None, "", "soon", "-", True, [3600], [-1]])
def test_a_missing_expiry_is_the_shortest_that_shopify_gives(value: object) -> None:
    offline, online = (
        granted(OFFLINE | {"expires_in": value}),
        granted(ONLINE | {"expires_in": value}, Grant.CODE),
    )
    assert (offline.expires_at, offline.assumed_expiry) == (NOW + timedelta(hours=1), True)
    assert (online.expires_at, online.assumed_expiry) == (NOW + timedelta(seconds=86399), True)


@pytest.mark.parametrize("missing", ["access_token", "refresh_token"])
@pytest.mark.parametrize("grant", [Grant.REFRESH, Grant.MIGRATION])
@pytest.mark.parametrize("value", [None, "", " ", 7])
def test_half_a_pair_is_asked_for_again(missing: str, grant: Grant, value: object) -> None:
    assert isinstance(answer(OFFLINE | {missing: value}, grant=grant), Unsettled)


def test_a_user_that_cannot_be_read_is_asked_for_again() -> None:
    """Without its user, an online token would pass for the shop's own."""
    for user in ({}, {"id": "x"}, {"id": None}, "42", 42):
        assert isinstance(answer(ONLINE | {"associated_user": user}, grant=Grant.EXCHANGE), Unsettled)


@pytest.mark.parametrize(
    ("grant", "status", "error", "kind"),
    [
        (Grant.REFRESH, 400, "invalid_grant", Refused),
        (Grant.REFRESH, 401, "invalid_request", Refused),
        (Grant.REFRESH, 401, "", Refused),
        (Grant.REFRESH, 400, "invalid_request", Unsettled),
        (Grant.REFRESH, 400, "", Unsettled),
        (Grant.REFRESH, 401, "invalid_client", Misconfigured),
        (Grant.REFRESH, 400, "invalid_client", Misconfigured),
        (Grant.CODE, 400, "invalid_request", Refused),
        (Grant.CODE, 400, "", Refused),
        (Grant.CODE, 401, "invalid_client", Misconfigured),
        (Grant.EXCHANGE, 400, "invalid_subject_token", Refused),
        (Grant.EXCHANGE, 400, "invalid_client", Misconfigured),
        (Grant.MIGRATION, 400, "invalid_subject_token", Refused),
        *(
            (grant, status, "", Unsettled)
            for grant in Grant
            for status in (301, 402, 403, 404, 423, 429, 500)
        ),
        *((grant, status, "invalid_grant", Unsettled) for grant in Grant for status in (429, 502, 503, 520)),
    ],
)
def test_a_token_is_given_up_only_for_an_answer_about_it(
    grant: Grant, status: int, error: str, kind: type[Outcome]
) -> None:
    assert isinstance(answer({"error": error}, status, grant), kind)


def test_a_page_of_a_proxy_is_no_answer() -> None:
    assert isinstance(answer(b"<html>520</html>", 200), Unsettled)
    assert isinstance(answer(b"<html>520</html>", 520), Unsettled)
    assert isinstance(answer([OFFLINE], 200), Unsettled)


def test_waits_as_long_as_it_is_told() -> None:
    def wait(text: str) -> float | None:
        found = answer({}, 429, rEtry_After=text)
        assert isinstance(found, Unsettled)
        return found.retry_after

    assert (wait("2"), wait("2.5"), wait("99999999")) == (2.0, 2.5, LONGEST_RETRY_AFTER)
    assert wait(format_datetime(NOW + timedelta(seconds=9), usegmt=True)) == 9.0
    assert wait(format_datetime(NOW - timedelta(seconds=9), usegmt=True)) == 0.0
    assert (wait("soon"), wait(""), wait("-1"), wait("nan")) == (None, None, None, None)


def test_no_token_is_shown() -> None:
    description = "The token shprt_0123456789abcdef0123456789abcdef is used up"
    found = answer({"error": "invalid_grant", "error_description": description}, 400)
    assert found == Refused(400, "invalid_grant", "The token … is used up")
    assert "shp" not in repr(granted(OFFLINE))
    assert "secret" not in repr(APP).replace("client_secret", "")


@given(
    grant=st.sampled_from(Grant),
    status=st.integers(100, 599),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
    members=st.dictionaries(st.sampled_from([*OFFLINE, *ONLINE, "error", "error_description"]), json_values),
)
def test_whatever_is_answered_nothing_is_raised(
    grant: Grant, status: int, body: bytes, members: dict[str, Any]
) -> None:
    assert isinstance(answer(body, status, grant, Retry_After="x"), Outcome)
    assert isinstance(answer(OFFLINE | members, status, grant), Outcome)


def test_every_grant_has_its_form() -> None:
    ours = {"client_id": "id", "client_secret": "secret"}
    offline = "urn:shopify:params:oauth:token-type:offline-access-token"
    exchange = ours | {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}
    session = exchange | {
        "subject_token": "t",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    }
    online = "urn:shopify:params:oauth:token-type:online-access-token"
    assert APP.code("c") == ours | {"code": "c", "expiring": "1"}
    assert APP.refresh("r") == ours | {"grant_type": "refresh_token", "refresh_token": "r"}
    assert APP.exchange("t") == session | {"requested_token_type": offline, "expiring": "1"}
    assert APP.exchange("t", online=True) == session | {"requested_token_type": online}
    assert APP.migration("t") == exchange | {
        "subject_token": "t",
        "subject_token_type": offline,
        "requested_token_type": offline,
        "expiring": "1",
    }


@pytest.mark.parametrize(("client_id", "secret"), [("", "s"), ("i", " ")])
def test_empty_credentials_are_a_closed_door(client_id: str, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        AppCredentials(client_id, secret)
