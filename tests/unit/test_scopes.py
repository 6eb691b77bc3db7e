"""The algebra of access scopes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.shopify.scopes import Scopes

one = st.builds(
    "{}{}_{}".format,
    st.sampled_from(["", "unauthenticated_"]),
    st.sampled_from(["read", "write"]),
    st.sampled_from(["products", "orders", "customers"]),
)
some = st.frozensets(one | st.sampled_from(["customer_read_orders", "write_", "x"]), max_size=6)


def allowed(names: frozenset[str]) -> set[str]:
    """Every scope that a set allows, worked out one by one."""
    every = set(names)
    for name in names:
        for prefix in ("", "unauthenticated_"):
            rest = name.removeprefix(f"{prefix}write_")
            if rest != name and rest:
                every.add(f"{prefix}read_{rest}")
    return every


@given(some)
def test_allows_what_follows_and_keeps_what_does_not(names: frozenset[str]) -> None:
    scopes = Scopes.of(names)
    assert scopes.expanded == allowed(names)
    assert Scopes.parse(str(scopes)) == scopes
    assert all(allowed(scopes.names - {name}) != allowed(names) for name in scopes.names)


@given(some, some)
def test_two_sets_are_equal_when_they_allow_the_same(left: frozenset[str], right: frozenset[str]) -> None:
    assert (Scopes.of(left) == Scopes.of(right)) is (allowed(left) == allowed(right))


@given(some, some)
def test_covers_what_it_allows_and_names_what_it_lacks(
    granted: frozenset[str], required: frozenset[str]
) -> None:
    found, wanted = Scopes.of(granted), Scopes.of(required)
    assert found.cover(wanted) is (allowed(required) <= allowed(granted))
    assert found.cover(wanted) is (found.lacking(wanted) == Scopes())
    assert Scopes.of(granted | found.lacking(wanted).names).cover(wanted)


@pytest.mark.parametrize(
    ("text", "compressed"),
    [
        ("", ""),
        (" , ,", ""),
        ("write_orders, read_orders ,read_products", "read_products,write_orders"),
        ("unauthenticated_write_x,unauthenticated_read_x,read_x", "read_x,unauthenticated_write_x"),
        ("read_orders,read_orders", "read_orders"),
        ("write_", "write_"),
    ],
)
def test_is_written_in_one_way(text: str, compressed: str) -> None:
    assert str(Scopes.parse(text)) == compressed


def test_what_shopify_grants_compressed_is_what_was_asked_for() -> None:
    assert Scopes.parse("write_products") == Scopes.parse("read_products,write_products")
    assert not Scopes.parse("read_products").cover(Scopes.parse("write_products"))
    assert not Scopes.parse("write_products").cover(Scopes.parse("unauthenticated_read_products"))
