"""What queries cost, by Shopify's rules and by its recorded answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sandbox.admin_api.buckets import Bucket, Rate
from services.sandbox.admin_api.cost import Costing
from services.sandbox.admin_api.documents import BadDocument, read
from tests.recorded_answers import RECORDED, recording, recordings_needed


def requested(query: str, **variables: Any) -> int:
    return Costing(read(query, None, variables)).requested()


@pytest.mark.parametrize(
    ("query", "points"),
    [
        ("{ shop { name currencyCode } }", 1),
        ("{ shop { id plan { publicDisplayName } primaryDomain { host } } }", 2),
        ("{ currentAppInstallation { accessScopes { handle } } }", 2),
        ("{ orders(first: 1) { nodes { id } pageInfo { endCursor } } }", 3),
        ("{ orders(first: 10) { edges { cursor node { id totalPriceSet { shopMoney { amount } } } } } }", 12),
        ("{ orders(first: 10) { nodes { id customer { id } } } }", 22),
        ("{ orders(first: 10) { nodes { lineItems(first: 5) { nodes { id product { id } } } } } }", 132),
        ("{ a: orders(first: 1) { nodes { id } } b: orders(first: 2) { nodes { id } } }", 7),
        ('{ bulkOperation(id: "gid://shopify/BulkOperation/1") { id status } }', 1),
        ('mutation { webhookSubscriptionDelete(id: "1") { userErrors { message } } }', 10),
        (
            "query { ...f } fragment f on Query { shop { ...g } } fragment g on Shop { primaryDomain { host } }",
            2,
        ),
    ],
)
def test_a_query_costs_what_its_parts_cost(query: str, points: int) -> None:
    assert requested(query) == points


@given(st.integers(1, 250), st.integers(1, 250))
def test_connections_multiply(first: int, second: int) -> None:
    query = """query ($a: Int, $b: Int = 3) {
        orders(first: $a) { nodes { lineItems(first: $b) { nodes { id } } } } }"""
    assert requested(query, a=first, b=second) == 2 + first * (1 + 2 + second)
    assert requested(query, a=first) == 2 + first * (1 + 2 + 3)


@given(st.integers(0, 20), st.lists(st.booleans(), max_size=20))
def test_no_answer_costs_more_than_was_reserved(more: int, customers: list[bool]) -> None:
    first = len(customers) + more + 1
    costing = Costing(
        read("query ($n: Int) { orders(first: $n) { nodes { customer { id } } } }", None, {"n": first})
    )
    nodes = [{"customer": {"id": "1"} if known else None} for known in customers]
    actual = costing.actual({"orders": {"nodes": nodes}})
    assert actual == 2 + 2 * len(customers) <= costing.requested()


@given(st.lists(st.tuples(st.integers(1, 120), st.floats(0, 5)), max_size=40))
def test_a_bucket_never_goes_below_zero_nor_over_its_size(requests: list[tuple[int, float]]) -> None:
    bucket, now, spent = Bucket(Rate(10, 100), 100, 0.0), 0.0, 0
    for points, pause in requests:
        now += pause
        if bucket.reserve(points, now):
            used = points // 2
            bucket.settle(points, used, now)
            spent += used
        assert 0 <= bucket.available <= 100
        assert spent <= 100 + now * 10 + 1e-6
    assert bucket.spent == spent
    assert bucket.throttled <= bucket.requests == len(requests)


@recordings_needed
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_answers_cost_the_same(name: str) -> None:
    recorded = recording(name)
    cost = recorded["extensions"]["cost"]
    costing = Costing(read(RECORDED[name], None, {}))
    assert costing.requested() == cost["requestedQueryCost"]
    assert costing.actual(recorded["data"]) == cost["actualQueryCost"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ shop { nothing } }", "Field 'nothing' doesn't exist on type 'Shop'"),
        ("{ shop", "Syntax Error"),
        ("query a { shop { id } } query b { shop { id } }", "An operation name is required"),
    ],
)
def test_what_is_wrong_with_a_document_is_said_as_shopify_says_it(query: str, words: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read(query, None, {})
    assert caught.value.errors[0]["message"].startswith(words)
