"""The client against a scripted Shopify, with a real Postgres for its budgets."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.admin_kit import QUERY, SHOP, admin_client
from tests.integration.admin_stand_in import AdminStandIn, admin_standing_in


@pytest.fixture
async def shopify() -> AsyncIterator[AdminStandIn]:
    async with admin_standing_in() as standing_in:
        yield standing_in


async def test_a_query_is_answered(database: str, shopify: AdminStandIn) -> None:
    async with admin_client(database, shopify) as admin:
        answer = await admin.graphql(SHOP, QUERY, {"cost": 7, "actual": 3})
    assert answer.data == {"shop": {"name": SHOP}}
    assert not answer.partial
    assert answer.cost is not None
    assert (answer.cost.requested, answer.cost.actual) == (7, 3)
    assert (answer.version, answer.request_id) == ("2026-10", "r-1")
    assert shopify.headers[0]["X-Shopify-Access-Token"] == f"shpat_{SHOP}_1"
    assert shopify.headers[0]["User-Agent"].startswith("shopbus")
