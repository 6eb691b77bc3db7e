"""The sandbox's Admin API over HTTP: what a client gets for its queries, and what they cost."""

from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.sandbox.admin_api.buckets import Rate
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from tests.integration.sandbox_kit import Sandbox, sandbox, subscribe
from tests.waiting import poll

READER = "read_orders,read_products,read_customers"
ORDERS = """
query ($first: Int, $after: String, $key: OrderSortKeys, $reverse: Boolean, $query: String) {
  orders(first: $first, after: $after, sortKey: $key, reverse: $reverse, query: $query) {
    nodes { id createdAt updatedAt displayFinancialStatus totalPriceSet { shopMoney { amount currencyCode } } }
    pageInfo { hasNextPage endCursor }
  }
}
"""


async def reader(stores: Sandbox, scopes: str = READER) -> str:
    return (await stores.installed(scopes)).access_token


async def all_orders(stores: Sandbox, token: str, **variables: Any) -> list[dict[str, Any]]:
    """Every page of the orders that match."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = (await stores.graphql(token, ORDERS, first=50, after=after, **variables))["data"]["orders"]
        found += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("key", ["CREATED_AT", "UPDATED_AT", "ID"])
async def test_pages_hold_every_order_once_in_the_order_asked_for(
    tmp_path: Path, key: str, reverse: bool
) -> None:
    field = {"CREATED_AT": "createdAt", "UPDATED_AT": "updatedAt"}.get(key)
    async with sandbox(tmp_path, setup=Setup(sizes=Sizes(orders=120))) as stores:
        found = await all_orders(stores, await reader(stores), key=key, reverse=reverse)
        values = [order[field] if field else int(order["id"].rpartition("/")[2]) for order in found]
        assert len({order["id"] for order in found}) == len(found) == 120
        assert values == sorted(values, reverse=reverse)


async def test_a_search_finds_what_was_updated_since_and_how_it_was_paid(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await reader(stores)
        every = await all_orders(stores, token)
        middle = sorted(order["updatedAt"] for order in every)[len(every) // 2]
        text = f"updated_at:>='{middle}' AND financial_status:paid"
        found = await all_orders(stores, token, query=text)
        wanted = {
            o["id"] for o in every if o["updatedAt"] >= middle and o["displayFinancialStatus"] == "PAID"
        }
        assert {order["id"] for order in found} == wanted
        assert 0 < len(wanted) < len(every)
        one = every[7]["id"]
        assert [o["id"] for o in await all_orders(stores, token, query=f"id:{one.rpartition('/')[2]}")] == [
            one
        ]


async def test_a_cursor_belongs_to_its_order_and_search(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await reader(stores)
        page = (await stores.graphql(token, ORDERS, first=2, key="UPDATED_AT"))["data"]["orders"]
        after = page["pageInfo"]["endCursor"]
        for other in (
            {"key": "ID"},
            {"key": "UPDATED_AT", "reverse": True},
            {"key": "UPDATED_AT", "query": "id:1"},
        ):
            answer = await stores.graphql(token, ORDERS, first=2, after=after, **other)
            assert answer["errors"][0]["message"] == "Invalid cursor for current pagination sort."
        assert "errors" not in await stores.graphql(token, ORDERS, first=2, after=after, key="UPDATED_AT")


@pytest.mark.parametrize("first", [None, 0, 251])
async def test_a_page_has_a_size_that_shopify_allows(tmp_path: Path, first: int | None) -> None:
    async with sandbox(tmp_path) as stores:
        answer = await stores.graphql(await reader(stores), ORDERS, first=first)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


async def test_without_a_token_nobody_is_answered(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        await stores.installed()
        for token in ("", "shpat_other"):
            async with stores.ask_api(token, "{ shop { id } }") as answer:
                assert answer.status == 401
                assert answer.headers["X-Shopify-API-Version"] == "2026-10"
                assert answer.headers["X-Request-Id"]


async def test_a_scope_that_is_lacking_is_named_and_the_rest_is_answered(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await reader(stores, "read_orders")
        answer = await stores.graphql(token, "{ products(first: 1) { nodes { id } } }")
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
        assert answer["errors"][0]["path"] == ["products"]
        partial = await stores.graphql(token, "{ orders(first: 1) { nodes { id customer { id } } } }")
        assert partial["data"]["orders"]["nodes"][0]["customer"] is None
        assert partial["errors"][0]["path"] == ["orders", "nodes", 0, "customer"]


async def test_orders_older_than_sixty_days_need_a_scope_of_their_own(tmp_path: Path) -> None:
    setup = Setup(sizes=Sizes(orders=100, days=121))
    async with sandbox(tmp_path, setup=setup) as stores:
        assert len(await all_orders(stores, await reader(stores))) == 50
        assert len(await all_orders(stores, await reader(stores, f"{READER},read_all_orders"))) == 100


async def test_what_happens_is_in_the_api_as_its_webhook_told_it(tmp_path: Path) -> None:
    detail = """query ($id: ID!) { order(id: $id) { legacyResourceId name createdAt updatedAt email
        totalPriceSet { shopMoney { amount } } customer { id }
        lineItems(first: 5) { nodes { id product { id } } } } }"""
    async with sandbox(tmp_path) as stores:
        token = await reader(stores)
        uri = f"{stores.settings.public_url}/webhooks/shopify"
        await subscribe(stores, token, "ORDERS_CREATE", uri)
        [identifier] = await stores.happen("orders/create")
        await poll(lambda: stores.app.requests)
        told = orjson.loads(stores.app.requests[0][1])
        asked = await stores.graphql(token, detail, id=f"gid://shopify/Order/{identifier}")
        order = asked["data"]["order"]
        assert (told["id"], told["name"], told["email"]) == (identifier, order["name"], order["email"])
        assert datetime.fromisoformat(told["updated_at"]) == datetime.fromisoformat(order["updatedAt"])
        assert datetime.fromisoformat(told["created_at"]) == datetime.fromisoformat(order["createdAt"])
        assert float(told["total_price"]) == float(order["totalPriceSet"]["shopMoney"]["amount"])
        assert told["customer"]["admin_graphql_api_id"] == order["customer"]["id"]
        lines = order["lineItems"]["nodes"]
        assert [line["admin_graphql_api_id"] for line in told["line_items"]] == [line["id"] for line in lines]
        assert [f"gid://shopify/Product/{line['product_id']}" for line in told["line_items"]] == [
            line["product"]["id"] for line in lines
        ]


async def test_what_is_deleted_is_gone_and_what_is_changed_is_new(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await reader(stores)
        before = {order["id"]: order for order in await all_orders(stores, token)}
        [deleted] = await stores.happen("orders/delete", number=3)
        [paid] = await stores.happen("orders/paid", number=4)
        after = {order["id"]: order for order in await all_orders(stores, token)}
        assert before.keys() - after.keys() == {f"gid://shopify/Order/{deleted}"}
        changed = after[f"gid://shopify/Order/{paid}"]
        assert changed["displayFinancialStatus"] == "PAID"
        assert changed["updatedAt"] > before[changed["id"]]["updatedAt"]
        assert changed["createdAt"] == before[changed["id"]]["createdAt"]


async def test_a_store_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await reader(stores)
        await stores.happen("orders/create", count=3)
        before = await all_orders(stores, token)
    async with sandbox(tmp_path) as stores:
        assert await all_orders(stores, token) == before


async def test_a_query_that_costs_too_much_is_never_run(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await reader(stores)
        huge = "{ orders(first: 250) { nodes { lineItems(first: 10) { nodes { id } } } } }"
        answer = await stores.graphql(token, huge)
        assert answer["errors"][0]["extensions"] == {
            "code": "MAX_COST_EXCEEDED",
            "cost": 3252,
            "maxCost": 1000,
            "documentation": "https://shopify.dev/api/usage/rate-limits",
        }
        assert (await stores.overview())["bucket"]["requests"] == 0


async def test_the_bucket_empties_says_so_and_is_measured(tmp_path: Path) -> None:
    setup = Setup(rate=Rate(restore=1, size=100))
    async with sandbox(tmp_path, setup=setup) as stores:
        token = await reader(stores)
        first = await stores.graphql(token, ORDERS, first=60)
        assert first["extensions"]["cost"]["requestedQueryCost"] == 62
        assert first["extensions"]["cost"]["actualQueryCost"] == 62
        second = await stores.graphql(token, ORDERS, first=60)
        assert second["errors"][0]["extensions"]["code"] == "THROTTLED"
        assert second["extensions"]["cost"]["actualQueryCost"] is None
        assert 38 <= second["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] <= 61
        bucket = (await stores.overview())["bucket"]
        assert (bucket["requests"], bucket["throttled"], bucket["spent"]) == (2, 1, 62)
        assert 0 < bucket["deepestOverdraw"] <= 24


async def test_shops_have_buckets_of_their_own(tmp_path: Path) -> None:
    other = "sandbox-002.myshopify.com"
    setup = Setup(rate=Rate(1, 100), rates={other: Rate(5, 500)})
    async with sandbox(tmp_path, setup=setup) as stores:
        token = await reader(stores)
        await stores.graphql(token, ORDERS, first=90)
        assert (await stores.overview())["bucket"]["currentlyAvailable"] < 100
        assert (await stores.overview(other))["bucket"]["currentlyAvailable"] == 500


@pytest.mark.parametrize(
    ("mishap", "status"),
    [
        (Mishap.TOO_MANY, 429),
        (Mishap.SUSPICIOUS, 430),
        (Mishap.FROZEN, 402),
        (Mishap.DISOWNED, 401),
        (Mishap.BROKEN, 503),
        (Mishap.UNHEARD, 520),
        (Mishap.UNTOLD, 520),
    ],
)
async def test_in_bad_weather_the_api_answers_as_shopifys_edge_does(
    tmp_path: Path, mishap: Mishap, status: int
) -> None:
    weather = Weather({mishap: 1.0})
    async with sandbox(tmp_path, setup=Setup(api_weather=weather)) as stores:
        token = await reader(stores)
        async with stores.ask_api(token, "{ shop { id } }") as answer:
            assert answer.status == status
            assert answer.headers.get("Retry-After") == ("1.0" if status == 429 else None)
        happened = (await stores.overview())["bucket"]["requests"]
        assert happened == (1 if mishap is Mishap.UNTOLD else 0)


async def test_weather_may_spoil_a_part_and_lie_about_the_bucket(tmp_path: Path) -> None:
    weather = Weather({Mishap.PARTIAL: 1.0})
    async with sandbox(tmp_path, setup=Setup(api_weather=weather)) as stores:
        token = await reader(stores)
        answer = await stores.graphql(token, "{ shop { id } ordersCount { count } }")
        assert answer["data"]["shop"] is None
        assert answer["data"]["ordersCount"]["count"] == 250
        assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        weather.shares = {Mishap.LYING: 1.0}
        lied = (await stores.graphql(token, ORDERS, first=250))["extensions"]["cost"]["throttleStatus"]
        assert lied["currentlyAvailable"] == lied["maximumAvailable"]
        assert (await stores.overview())["bucket"]["currentlyAvailable"] < lied["maximumAvailable"]


async def test_an_unknown_search_field_is_ignored_and_told(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        answer = await stores.graphql(await reader(stores), ORDERS, first=1, query="colour:red")
        assert len(answer["data"]["orders"]["nodes"]) == 1
        assert answer["extensions"]["search"][0]["warnings"][0]["field"] == "colour"
