import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs.common.runtime.outcomes import Later, Never
from libs.common.shopify.admin import errors
from libs.common.shopify.admin.answers import Answer, Faulty, TokenRefused, TooMany, read_answer
from libs.common.shopify.admin.costs import Bucket, Cost, read_cost
from libs.common.shopify.admin.errors import AdminError, UserErrors

NOW = datetime(2026, 11, 27, tzinfo=UTC)
FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "graphql"


def graphql_fixture(name: str) -> bytes:
    """A recorded answer of Shopify's."""
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded answers are not in the repository")
    return path.read_bytes()


def read(members: object, status: int = 200, **headers: str) -> Answer:
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    return read_answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, body, asked_at=NOW
    )


def error_of(members: object, status: int = 200, **headers: str) -> AdminError:
    with pytest.raises(AdminError) as caught:
        read(members, status, **headers)
    return caught.value


def coded(code: str, message: str = "no", **more: Any) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": code}}], **more}


def test_data_with_its_cost() -> None:
    told = {"maximumAvailable": 2000, "currentlyAvailable": 1998.0, "restoreRate": 100}
    cost = {"requestedQueryCost": 5, "actualQueryCost": 2, "throttleStatus": told}
    answer = read({"data": {"shop": {"name": "x"}}, "extensions": {"cost": cost}}, X_Request_Id="r")
    assert (answer.data, answer.partial, answer.request_id) == ({"shop": {"name": "x"}}, False, "r")
    assert answer.cost == Cost(5, 2, Bucket(2000, 1998, 100))


def test_part_of_the_data_comes_with_what_is_missing() -> None:
    answer = read(graphql_fixture("products_with_errors_partial"))
    assert answer.partial
    assert answer.data["byId"]["title"] == "The Inventory Not Tracked Snowboard"
    assert {error.code for error in answer.errors} == {"ACCESS_DENIED"}
    assert answer.errors[0].path == ("productResourceFeedback",)


@pytest.mark.parametrize(
    ("name", "requested"), [("throttled", 70), ("throttled.2", 202), ("throttled.3", 507)]
)
def test_throttled_in_every_form_it_was_seen_in(name: str, requested: float) -> None:
    error = error_of(graphql_fixture(name))
    assert isinstance(error, TooMany)
    assert error.after is None
    assert error.cost is not None
    assert (error.cost.requested, error.cost.actual) == (requested, None)
    assert error.cost.bucket is not None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("max_cost_exceeded", errors.TooExpensive),
        ("access_denied_error", errors.AccessDenied),
        ("webPixelCreate_undefinedField_error", errors.QueryRefused),
        ("webhookSubscriptions_invalidSortKey_error", errors.QueryRefused),
    ],
)
def test_recorded_refusals_are_for_ever(name: str, kind: type[AdminError]) -> None:
    error = error_of(graphql_fixture(name))
    assert type(error) is kind
    assert isinstance(error, Never)
    assert str(error)


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        (coded("SHOP_INACTIVE"), errors.ShopInactive),
        (coded("INTERNAL_SERVER_ERROR"), Faulty),
        (coded("ACCESS_DENIED", data={"shop": None}), errors.AccessDenied),
        ({"errors": "something in words"}, errors.QueryRefused),
        ({"errors": {"query": "Required parameter missing or invalid"}}, errors.QueryRefused),
        ({"errors": [7]}, errors.QueryRefused),
        ({"data": None}, Faulty),
        ({}, Faulty),
        ([], Faulty),
        (b"<html>", Faulty),
        (b"", Faulty),
        (b"\xff", Faulty),
    ],
)
def test_answers_without_data(members: object, kind: type[AdminError]) -> None:
    assert type(error_of(members)) is kind


@pytest.mark.parametrize(
    ("status", "kind", "later"),
    [
        (302, Faulty, None), (400, errors.QueryRefused, None), (401, TokenRefused, None),
        (402, errors.ShopFrozen, 3_600), (403, errors.Forbidden, None), (404, errors.NotThere, None),
        (408, Faulty, None), (423, errors.ShopLocked, 3_600), (430, errors.SecurityRejection, 900),
        (500, Faulty, None), (502, Faulty, None), (503, Faulty, None), (520, Faulty, None),
    ],
)  # fmt: skip
def test_statuses(status: int, kind: type[AdminError], later: float | None) -> None:
    error = error_of(b"<html>", status, X_Request_Id="r")
    assert type(error) is kind
    assert (error.status, error.request_id) == (status, "r")
    assert (error.seconds if isinstance(error, Later) else None) == later
    assert "<html>" not in str(error)


@pytest.mark.parametrize(("given", "seconds"), [("2.0", 2.0), ("7", 7.0), ("soon", 2.0)])
def test_retry_after_is_in_seconds(given: str, seconds: float) -> None:
    error = error_of(b"", 429, Retry_After=given)
    assert isinstance(error, TooMany)
    assert error.after == seconds


def test_shopifys_words_are_told() -> None:
    words = "[API] Non-expiring access tokens are no longer accepted"
    assert words in str(error_of({"errors": words}, 403))


def test_of_several_errors_the_gravest_counts() -> None:
    both = {"errors": coded("THROTTLED")["errors"] + coded("ACCESS_DENIED")["errors"]}
    assert type(error_of(both)) is errors.AccessDenied


def test_a_mutation_that_was_done() -> None:
    payload = {"webhookSubscription": {"id": "1"}, "userErrors": []}
    assert read({"data": {"create": payload}}).done("create") == payload


def test_a_mutation_that_was_not_done() -> None:
    told = [{"field": ["webPixel", "settings"], "message": "is invalid", "code": "INVALID_SETTINGS"}]
    with pytest.raises(UserErrors, match=r"webPixel\.settings: is invalid") as caught:
        read({"data": {"create": {"webPixel": None, "userErrors": told}}}).done("create")
    assert caught.value.user_errors[0].code == "INVALID_SETTINGS"
    assert isinstance(caught.value, Never)


def test_elder_names_of_user_errors_count_too() -> None:
    told = [{"field": None, "message": "no"}]
    with pytest.raises(UserErrors, match="no"):
        read({"data": {"create": {"customerUserErrors": told}}}).done("create")


def test_a_mutation_that_the_answer_does_not_speak_of() -> None:
    with pytest.raises(errors.QueryRefused):
        read({"data": {"other": {}}}).done("create")


@pytest.mark.parametrize(
    "told",
    [
        None, {}, {"cost": None}, {"cost": {"requestedQueryCost": True}}, {"cost": {"requestedQueryCost": -1}},
        {"cost": {"requestedQueryCost": 1e300}}, {"cost": {"requestedQueryCost": "5"}}, [],
    ],
)  # fmt: skip
def test_a_cost_that_cannot_be_is_none(told: object) -> None:
    assert read_cost(told) is None


@pytest.mark.parametrize(
    "status", [{"maximumAvailable": 0}, {"restoreRate": 0}, {"currentlyAvailable": None}, {"restoreRate": -5}]
)
def test_a_bucket_that_cannot_be_is_none(status: dict[str, Any]) -> None:
    whole = {"maximumAvailable": 2000, "currentlyAvailable": 9, "restoreRate": 100}
    assert read_cost({"cost": {"requestedQueryCost": 1, "throttleStatus": whole | status}}) == Cost(1)


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the recorded answers are not in the repository")
def test_every_recorded_answer_can_be_read() -> None:
    for path in sorted(FIXTURES.glob("*.json")):
        members = json.loads(path.read_text())
        try:
            read(members if "errors" in members or "data" in members else {"data": members})
        except AdminError:
            assert any(word in path.name for word in ("_error", "throttled", "max_cost")), path
