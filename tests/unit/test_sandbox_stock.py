"""What a sandbox store has: made from a seed, however it is opened, and changed by what happens."""

from dataclasses import replace

import pytest

from libs.common.clock import SystemClock
from services.sandbox.scene import Json
from services.sandbox.search import Range
from services.sandbox.stock import EVERYTHING, Sizes, Stock
from services.sandbox.store import Shelves, SortKey

SHOP = "sandbox-001.myshopify.com"


def stock(sizes: Sizes | None = None) -> Stock:
    return Stock(Shelves(), SystemClock(), sizes or Sizes(orders=30, products=5, customers=4))


def ids(of: Stock, kind: str) -> list[int]:
    return [row.id for row in of.rows(SHOP, kind, EVERYTHING)]


async def test_a_store_is_the_same_however_it_is_opened() -> None:
    at_once, in_pieces = stock(), stock()
    at_once.open(SHOP)
    await in_pieces.open_in_pieces(SHOP)
    await in_pieces.open_in_pieces(SHOP)
    for kind, count in (("orders", 30), ("products", 5), ("customers", 4)):
        assert ids(at_once, kind) == ids(in_pieces, kind)
        assert len(ids(at_once, kind)) == count
    at_once.shelves.close()
    in_pieces.shelves.close()


def test_another_seed_makes_another_store() -> None:
    one, other = stock(), stock(Sizes(orders=30, products=5, customers=4, seed=7))
    one.open(SHOP)
    other.open(SHOP)
    assert set(ids(one, "orders")).isdisjoint(ids(other, "orders"))
    one.shelves.close()
    other.shelves.close()


def test_an_order_is_about_what_its_store_has_and_adds_up() -> None:
    has = stock()
    has.open(SHOP)
    products, customers = set(ids(has, "products")), set(ids(has, "customers"))
    for row in has.rows(SHOP, "orders", EVERYTHING):
        order = has.facts(row)
        assert order["customer"]["id"] in customers
        assert {line["product_id"] for line in order["line_items"]} <= products
        assert cents(order["subtotal_price"]) == sum(cost(line) for line in order["line_items"])
    has.shelves.close()


def test_a_customer_who_is_gone_is_named_by_no_order() -> None:
    has = stock()
    has.open(SHOP)
    gone, _ = has.happen(SHOP, "customers/delete", 2)
    orders = list(has.rows(SHOP, "orders", EVERYTHING))
    assert all(has.facts(row)["customer"]["id"] != gone.id for row in orders)
    assert sum(has.customer_of(row) is None for row in orders) > 0
    with pytest.raises(LookupError):
        has.happen(SHOP, "customers/update", 2)
    has.shelves.close()


def cents(text: str) -> int:
    return int(text.replace(".", ""))


def cost(line: Json) -> int:
    return cents(line["price"]) * int(line["quantity"])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("key", list(SortKey))
def test_a_walk_in_any_order_finds_what_a_search_allows(key: SortKey, reverse: bool) -> None:
    has = stock(Sizes(orders=600, products=5, customers=4))
    has.open(SHOP)
    every = list(has.rows(SHOP, "orders", EVERYTHING))
    low, high = sorted(row.value(key) for row in every)[50], sorted(row.value(key) for row in every)[-50]
    name = {SortKey.ID: "id", SortKey.CREATED_AT: "created", SortKey.UPDATED_AT: "updated"}[key]
    search = replace(EVERYTHING, **{name: Range(low, high)})  # type: ignore[arg-type]
    wanted = sorted((row.value(key), row.id) for row in every if low <= row.value(key) <= high)
    found = has.rows(SHOP, "orders", search, key=key, reverse=reverse)
    assert [(row.value(key), row.id) for row in found] == wanted[:: -1 if reverse else 1]
    has.shelves.close()
