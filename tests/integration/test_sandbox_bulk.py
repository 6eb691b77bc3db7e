"""Bulk operations of the sandbox: run in the background, written line by line, told when they end."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from psutil import Process

from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from tests.integration.sandbox_kit import Sandbox, sandbox, subscribe
from tests.waiting import poll

START = """mutation ($query: String!, $group: Boolean = false) {
    bulkOperationRunQuery(query: $query, groupObjects: $group) {
        bulkOperation { id status url } userErrors { field message code } } }"""
ONE = """query ($id: ID!) { bulkOperation(id: $id) {
    id status type errorCode url partialDataUrl objectCount rootObjectCount fileSize createdAt completedAt query } }"""
CANCEL = """mutation ($id: ID!) { bulkOperationCancel(id: $id) {
    bulkOperation { id status } userErrors { field message } } }"""
ORDERS = """{ orders { edges { node { __typename id updatedAt customer { id }
    totalPriceSet { shopMoney { amount } } lineItems { edges { node { __typename id quantity } } } } } } }"""
SCOPES = "read_orders,read_products,read_customers"


async def start(stores: Sandbox, token: str, query: str, **more: Any) -> dict[str, Any]:
    answer = await stores.graphql(token, START, query=query, **more)
    payload: dict[str, Any] = answer["data"]["bulkOperationRunQuery"]
    return payload


async def ended(
    stores: Sandbox, token: str, identifier: str, status: str = "COMPLETED", *, within: float = 60
) -> dict[str, Any]:
    """The operation, once it has that status."""
    found: dict[str, Any] = {}

    async def done() -> bool:
        found.update((await stores.graphql(token, ONE, id=identifier))["data"]["bulkOperation"])
        return bool(found["status"] == status)

    await poll(done, within=within)
    return found


async def lines(stores: Sandbox, address: str) -> list[dict[str, Any]]:
    async with stores.client.get(address) as answer:
        assert answer.status == 200
        return [orjson.loads(line) async for line in answer.content]


@pytest.mark.parametrize("grouped", [False, True])
async def test_every_order_and_each_of_its_lines_is_written_once(tmp_path: Path, grouped: bool) -> None:
    async with sandbox(tmp_path, setup=Setup(sizes=Sizes(orders=120))) as stores:
        token = (await stores.installed(SCOPES)).access_token
        door = f"{stores.settings.public_url}/webhooks/shopify"
        await subscribe(stores, token, "BULK_OPERATIONS_FINISH", door)
        started = await start(stores, token, ORDERS, group=grouped)
        assert started["bulkOperation"]["status"] in {"CREATED", "RUNNING"}
        found = await ended(stores, token, started["bulkOperation"]["id"])
        written = await lines(stores, found["url"])
        orders = {one["id"]: one for one in written if one["__typename"] == "Order"}
        children = [one for one in written if one["__typename"] == "LineItem"]
        assert len(orders) == 120 == int(found["rootObjectCount"])
        assert len(written) == int(found["objectCount"]) == 120 + len({one["id"] for one in children})
        assert {one["__parentId"] for one in children} == orders.keys()
        adjacent = all(
            one["__parentId"] in {before["id"], before.get("__parentId")}
            for before, one in pairwise(written)
            if "__parentId" in one
        )
        assert adjacent is grouped
        await poll(lambda: stores.app.requests)
        told = orjson.loads(stores.app.requests[0][1])
        assert told["admin_graphql_api_id"] == found["id"]
        assert (told["status"], told["type"], told["error_code"]) == ("completed", "query", None)


async def test_a_bulk_query_finds_what_the_api_finds(tmp_path: Path) -> None:
    search = "updated_at:>='2020-01-01' AND financial_status:paid"
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(SCOPES)).access_token
        query = f'{{ orders(query: "{search}") {{ nodes {{ id name updatedAt }} }} }}'
        started = await start(stores, token, query)
        found = await ended(stores, token, started["bulkOperation"]["id"])
        page = await stores.graphql(
            token,
            "query ($q: String) { orders(first: 250, query: $q, sortKey: ID) { nodes { id name updatedAt } } }",
            q=search,
        )
        assert await lines(stores, found["url"]) == page["data"]["orders"]["nodes"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "{ orders { nodes { nothing } } }",
            "Invalid bulk query: Field 'nothing' doesn't exist on type 'Order'",
        ),
        ("{ shop { id } }", "Bulk queries must contain exactly one connection"),
        ("{ orders { nodes { lineItems { nodes { id } } } } }", "The parent 'node' field"),
        ("{ bad", "Invalid bulk query"),
        ("{ webhookSubscriptions { nodes { id } } }", "The sandbox does not run"),
    ],
)
async def test_a_query_that_cannot_be_run_in_bulk_is_refused(tmp_path: Path, query: str, words: str) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(SCOPES)).access_token
        refused = await start(stores, token, query)
        assert refused["bulkOperation"] is None
        assert refused["userErrors"][0]["message"].startswith(words)


async def test_five_run_at_once_and_a_sixth_waits_its_turn(tmp_path: Path) -> None:
    weather = Weather({Mishap.SLOW: 1.0}, delay=60)
    async with sandbox(tmp_path, setup=Setup(bulk_weather=weather)) as stores:
        token = (await stores.installed(SCOPES)).access_token
        five = [await start(stores, token, ORDERS) for _ in range(5)]
        refused = await start(stores, token, ORDERS)
        assert refused["userErrors"][0]["code"] == "OPERATION_IN_PROGRESS"
        listed = await stores.graphql(
            token, '{ bulkOperations(first: 9, query: "status:running") { nodes { id } } }'
        )
        assert {one["id"] for one in listed["data"]["bulkOperations"]["nodes"]} == {
            one["bulkOperation"]["id"] for one in five
        }


async def test_a_cancelled_operation_ends_with_what_it_has(tmp_path: Path) -> None:
    weather = Weather({Mishap.SLOW: 1.0}, delay=0.2)
    async with sandbox(tmp_path, setup=Setup(bulk_weather=weather)) as stores:
        token = (await stores.installed(SCOPES)).access_token
        identifier = (await start(stores, token, ORDERS))["bulkOperation"]["id"]
        answer = await stores.graphql(token, CANCEL, id=identifier)
        assert answer["data"]["bulkOperationCancel"]["bulkOperation"]["status"] == "CANCELING"
        found = await ended(stores, token, identifier, "CANCELED")
        assert found["url"] is None
        again = (await stores.graphql(token, CANCEL, id=identifier))["data"]["bulkOperationCancel"]
        assert again["userErrors"][0]["message"] == "A bulk operation cannot be canceled when it is canceled"


@pytest.mark.parametrize(
    ("mishap", "status", "code"),
    [(Mishap.BROKEN, "FAILED", "INTERNAL_SERVER_ERROR"), (Mishap.EXPIRED, "EXPIRED", None)],
)
async def test_an_operation_that_came_to_nothing_gives_what_it_has(
    tmp_path: Path, mishap: Mishap, status: str, code: str | None
) -> None:
    weather = Weather({mishap: 1.0})
    async with sandbox(tmp_path, setup=Setup(sizes=Sizes(orders=60), bulk_weather=weather)) as stores:
        token = (await stores.installed(SCOPES)).access_token
        started = await start(stores, token, "{ orders { nodes { id } } }")
        found = await ended(stores, token, started["bulkOperation"]["id"], status)
        assert (found["url"], found["errorCode"]) == (None, code)
        assert len(await lines(stores, found["partialDataUrl"])) == 30 == int(found["rootObjectCount"])


async def test_without_the_scope_an_operation_fails(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed("read_products")).access_token
        started = await start(stores, token, "{ orders { nodes { id } } }")
        found = await ended(stores, token, started["bulkOperation"]["id"], "FAILED")
        assert found["errorCode"] == "ACCESS_DENIED"


async def test_what_was_under_way_when_the_sandbox_stopped_is_finished_later(tmp_path: Path) -> None:
    slow = Setup(bulk_weather=Weather({Mishap.SLOW: 1.0}, delay=60))
    async with sandbox(tmp_path, setup=slow) as stores:
        token = (await stores.installed(SCOPES)).access_token
        identifier = (await start(stores, token, ORDERS))["bulkOperation"]["id"]
        await ended(stores, token, identifier, "RUNNING")
    async with sandbox(tmp_path) as stores:
        found = await ended(stores, token, identifier)
        assert int(found["rootObjectCount"]) == 250


async def test_an_empty_result_has_no_file_and_others_are_not_guessed(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(SCOPES)).access_token
        started = await start(stores, token, '{ orders(query: "id:1") { nodes { id } } }')
        found = await ended(stores, token, started["bulkOperation"]["id"])
        assert (found["url"], found["objectCount"]) == (None, "0")
        async with stores.client.get(
            f"{stores.settings.store_url}/x.myshopify.com/admin/bulk/a.jsonl"
        ) as answer:
            assert answer.status == 404


@pytest.mark.long
@pytest.mark.timeout(1_200)
async def test_two_hundred_thousand_orders_are_written_in_constant_memory(tmp_path: Path) -> None:
    process, most = Process(), 0
    async with sandbox(tmp_path, setup=Setup(sizes=Sizes(orders=200_000))) as stores:
        token = (await stores.installed(SCOPES)).access_token
        await stores.graphql(token, "{ ordersCount { count } }")
        before = process.memory_info().rss
        started = await start(stores, token, "{ orders { nodes { id updatedAt } } }")

        async def done() -> bool:
            nonlocal most
            most = max(most, process.memory_info().rss)
            found = await stores.graphql(token, ONE, id=started["bulkOperation"]["id"])
            return bool(found["data"]["bulkOperation"]["rootObjectCount"] == "200000")

        await poll(done, within=1_000)
        found = await ended(stores, token, started["bulkOperation"]["id"])
        async with stores.client.get(found["url"]) as answer:
            ids = {orjson.loads(line)["id"] async for line in answer.content}
        assert len(ids) == 200_000
        assert most - before < 64 * 1024 * 1024
