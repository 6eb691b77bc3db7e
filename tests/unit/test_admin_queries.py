import pytest

from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.queries import Costs, Labels, read_query


@pytest.mark.parametrize(
    ("text", "name", "mutates"),
    [
        ("query ShopName { shop { name } }", "ShopName", False),
        ("query { shop { name } }", "anonymous_query", False),
        ("{ shop { name } }", "anonymous_query", False),
        ("{ mutation { query } }", "anonymous_query", False),
        ("mutation Pay($id: ID!) { pay(id: $id) { done } }", "Pay", True),
        ("mutation { pay { done } }", "anonymous_mutation", True),
        ("# query Not\nmutation Pay { pay }", "Pay", True),
        ('query Search { products(query: "mutation Pay") { id } }', "Search", False),
        ('query Search { a(query: """mutation "Pay" """) { id } }', "Search", False),
        ("fragment F on Shop { name }\nmutation Pay { pay { ...F } }", "Pay", True),
        ("fragment F on Shop { name } { shop { ...F } }", "anonymous_query", False),
        ("", "anonymous_query", False),
    ],
)
def test_what_a_query_says_of_itself(text: str, name: str, mutates: bool) -> None:
    query = read_query(text)
    assert (query.name, query.mutates) == (name, mutates)


def test_a_key_counts_only_where_the_query_hands_it_on() -> None:
    assert read_query(
        "mutation P($idempotencyKey: String!) { p @idempotent(key: $idempotencyKey) }"
    ).takes_key
    assert not read_query("mutation P($idempotencyKey: String!) { p }").takes_key
    assert not read_query("mutation P { p @idempotent(key: 1) }").takes_key


def test_a_cost_is_learned_by_text_and_sizes() -> None:
    costs, query = Costs(), read_query("query P($first: Int!, $after: String) { p }")
    costs.learn(query, {"first": 10, "after": "x"}, 12)
    costs.learn(query, {"first": 250, "after": "y"}, 252)
    assert costs.expected(query, {"first": 10, "after": "z"}) == 12
    assert costs.expected(query, {"first": 250}) == 252
    assert costs.expected(query, {"first": 100}) == 252  # never asked so: the most that its text ever cost


def test_an_unknown_mutation_costs_what_shopify_says_mutations_cost() -> None:
    assert Costs().expected(read_query("mutation P { p }"), {}) == 10
    assert Costs().expected(read_query("query P { p }"), {}) > 10


def test_names_from_outside_do_not_make_labels_without_end() -> None:
    labels = Labels(most=2)
    assert [labels.of(read_query(f"query Q{number} {{ a }}")) for number in (1, 2, 3, 1)] == [
        "Q1",
        "Q2",
        "other",
        "Q1",
    ]


def test_lanes_go_in_the_order_of_their_names() -> None:
    assert sorted(ApiLane) == [ApiLane.PRIVACY, ApiLane.ORDERS, ApiLane.CATALOGUE, ApiLane.BACKFILL]
