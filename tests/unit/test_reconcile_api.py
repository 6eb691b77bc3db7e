"""A list of what changed is read to its end, also where Shopify does not count on."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.shopify.admin.answers import Answer
from libs.common.shopify.admin.errors import Unavailable
from libs.common.shopify.admin.lanes import ApiLane
from services.webhooks import reconcile_api
from services.webhooks.reconcile_plan import FAMILIES, Span
from tests.admin_double import AdminDouble

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SHOP = "one.myshopify.com"


class Shopify(AdminDouble):
    """Lists products by their change, two a page; `cursor` is the place in the list of one search."""

    def __init__(self, seconds: list[int], *, whole_days: bool = False) -> None:
        self.whole_days, self.pages = whole_days, 0
        self.products = [(number, NOON + timedelta(seconds=at)) for number, at in enumerate(seconds, 1)]
        self.searches: set[str] = set()

    async def answered(
        self, shop: str, query: str, variables: Mapping[str, Any] | None, lane: ApiLane
    ) -> Answer:
        assert (shop, lane, variables is not None) == (SHOP, ApiLane.BACKFILL, True)
        given = variables or {}
        self.searches.add(given["query"])
        [bound] = re.findall(r"^updated_at:>='([^']+)'$", given["query"])
        low = datetime.fromisoformat(bound)
        if self.whole_days:
            low = low.replace(hour=0, minute=0, second=0)
        found = [(number, at) for number, at in self.products if low <= at]
        self.pages += 1
        begin = int(given["after"] or 0)
        nodes = [
            {
                "id": f"gid://shopify/Product/{number}",
                "updatedAt": at.isoformat(),
                "createdAt": NOON.isoformat(),
            }
            for number, at in found[begin : begin + 2]
        ]
        page = {"hasNextPage": len(found) > begin + 2, "endCursor": str(begin + 2)}
        return Answer({"products": {"nodes": nodes, "pageInfo": page}})


async def read(shopify: Shopify) -> list[int]:
    span = Span(NOON, NOON + timedelta(hours=1))
    pages = reconcile_api.changed(shopify, SHOP, FAMILIES[1], span)
    return [one.id async for page in pages for one in page]


async def test_a_list_that_is_too_deep_is_begun_anew_and_nothing_is_read_twice_or_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconcile_api, "_DEEPEST", 4)
    shopify = Shopify([0, 1, 2, 3, 3, 3, 4, 5, 5, 6, 7])
    assert await read(shopify) == list(range(1, 12))
    assert len(shopify.searches) > 1


async def test_more_in_one_second_than_can_be_listed_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile_api, "_DEEPEST", 4)
    with pytest.raises(Unavailable):
        await read(Shopify([0] * 9))


@pytest.mark.parametrize("whole_days", [False, True])
async def test_what_is_outside_the_hour_is_left_out_and_the_list_ends_with_it(*, whole_days: bool) -> None:
    minutes = [-90, -61, 0, 30, 59, 60, 61, 120, 180, 240]
    shopify = Shopify([60 * minute for minute in minutes], whole_days=whole_days)
    assert await read(shopify) == [3, 4, 5]
    assert shopify.pages == (3 if whole_days else 2)
