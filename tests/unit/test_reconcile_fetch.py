"""One resource is fetched with all that belongs to it, and null is looked at twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import GraphqlError, QueryRefused, Unavailable
from libs.common.shopify.admin.lanes import ApiLane
from services.webhooks.reconcile_api import Resources
from services.webhooks.reconcile_plan import FAMILIES
from tests.admin_double import AdminDouble

SHOP = "one.myshopify.com"
[PRODUCTS] = (family for family in FAMILIES if family.name == "products")
NUMBER = 7
GID = f"gid://shopify/Product/{NUMBER}"


@dataclass
class Shopify(AdminDouble):
    """Has one product with so many variants; `shown` says whether it is answered when it is asked for."""

    variants: int = 0
    listed: bool = True
    shown: bool = True
    errors: tuple[GraphqlError, ...] = ()
    gone_after: int = 1_000  # answers
    asked: list[int] = field(default_factory=list)

    async def answered(
        self, shop: str, query: str, variables: Mapping[str, Any] | None, lane: ApiLane
    ) -> Answer:
        assert (shop, lane, variables is not None) == (SHOP, ApiLane.BACKFILL, True)
        given = variables or {}
        if "products(" in query:
            assert given["query"] == f"id:{NUMBER}"
            nodes = [{"id": GID, "updatedAt": "", "createdAt": ""}] if self.listed else []
            return Answer({"products": {"nodes": nodes, "pageInfo": {"hasNextPage": False}}})
        assert given["id"] == GID
        self.asked.append(given["parts"])
        if not self.shown or len(self.asked) > self.gone_after:
            return Answer({"product": None}, self.errors)
        begin = int(given["after"] or 0)
        end = begin + given["parts"]
        page = {"hasNextPage": end < self.variants, "endCursor": str(end)}
        nodes = [{"id": str(number)} for number in range(begin, min(end, self.variants))]
        whole = {"id": GID} if given["after"] is None else {}
        return Answer({"product": {**whole, "variants": {"nodes": nodes, "pageInfo": page}}})

    async def fetched(self) -> Mapping[str, Any] | None:
        return await Resources(self, SHOP, frozenset()).fetch(PRODUCTS, NUMBER)


@pytest.mark.parametrize(("variants", "asked"), [(40, [40]), (41, [40, 250]), (2_048, [40] + [250] * 9)])
async def test_every_part_is_fetched_however_many_there_are(variants: int, asked: list[int]) -> None:
    shopify = Shopify(variants)
    node = await shopify.fetched()
    assert node is not None
    assert [one["id"] for one in node["variants"]["nodes"]] == [str(number) for number in range(variants)]
    assert shopify.asked == asked


async def test_more_parts_than_shopify_lists_are_told_as_missing() -> None:
    with pytest.raises(QueryRefused, match="more than 25040 variants"):
        await Shopify(variants=30_000).fetched()


async def test_what_is_deleted_while_it_is_fetched_is_gone() -> None:
    assert await Shopify(variants=300, gone_after=1).fetched() is None


async def test_null_for_what_no_list_has_any_more_is_a_deletion() -> None:
    assert await Shopify(shown=False, listed=False).fetched() is None


async def test_null_for_what_is_listed_is_no_deletion() -> None:
    with pytest.raises(QueryRefused):
        await Shopify(shown=False).fetched()


async def test_null_beside_an_error_is_no_answer() -> None:
    with pytest.raises(Unavailable):
        await Shopify(shown=False, listed=False, errors=(GraphqlError("down", "TIMEOUT"),)).fetched()
