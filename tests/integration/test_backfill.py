"""What becomes of a backfill in a shop that is well, busy, closed to us, or gone; all of it over HTTP."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession
from pydantic import SecretStr

from libs.common.outbox import erase_store
from libs.common.privacy.keys import PrivacyKeys
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from tests.integration.auth_kit import SERVICE_KEY
from tests.integration.backfill_kit import LONG_AGO, Shop, begin, shop
from tests.session_tokens import SHOP
from tests.waiting import poll

SIZES = Sizes(orders=300, products=20, customers=290)
PACK = 250
RESTARTS = "backfill_restarts_total"
PAUSES = "backfill_pauses_total"


async def bodies(one: Shop, resource: str) -> list[dict[str, Any]]:
    rows = await one.pool.fetch("SELECT body FROM worker.messages WHERE type = $1", f"backfill.{resource}")
    return [orjson.loads(row["body"]) for row in rows]


async def answer(worker: ClientSession, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    async with worker.request(method, f"/api/backfills{path}", **more) as response:
        return response.status, orjson.loads(await response.read())


async def metric(worker: ClientSession, name: str) -> float:
    async with worker.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def test_all_that_a_shop_has_becomes_messages_and_the_mirror_keeps_its_orders(
    database: str, tmp_path: Path
) -> None:
    async with shop(database, tmp_path, Setup(sizes=SIZES)) as one:
        worker = await one.local()
        ids = {name: await begin(worker, name) for name in ("orders", "products", "customers")}
        assert (await answer(worker, "POST", "", json=asked("orders")))[1]["type"].endswith("backfill-open")
        for name, number in (("orders", 300), ("products", 20), ("customers", 290)):
            row = await one.over(ids[name])
            assert (row["status"], row["accepted"], row["reason"]) == ("completed", number, None)
            assert row["lines"] == row["file_lines"] > 0
            assert await one.times_accepted(name) == [1] * number
        assert all(order["lineItems"] for order in await bodies(one, "orders"))
        assert all(product["variants"] for product in await bodies(one, "products"))
        assert all("addressesV2" in customer for customer in await bodies(one, "customers"))
        await poll(lambda: one.worked_on(300))
        await _mirror_agrees(one)
        await _told_over_http(worker, ids)


def asked(resource: str, **changes: object) -> dict[str, object]:
    return {"shop": SHOP, "resource": resource, "since": LONG_AGO, **changes}


async def _mirror_agrees(one: Shop) -> None:
    query = "query ($id: ID!) { order(id: $id) { name updatedAt displayFinancialStatus } }"
    for row in await one.pool.fetch("SELECT * FROM worker.orders LIMIT 5"):
        found = await one.stores.graphql(one.token, query, id=f"gid://shopify/Order/{row['order_id']}")
        order = found["data"]["order"]
        assert (row["name"], row["financial_status"]) == (
            order["name"],
            order["displayFinancialStatus"].lower(),
        )
        assert row["updated_at"] == datetime.fromisoformat(order["updatedAt"])


async def _told_over_http(worker: ClientSession, ids: dict[str, str]) -> None:
    status, listed = await answer(worker, "GET", "", params={"limit": "2"})
    assert (status, [one["resource"] for one in listed["backfills"]]) == (200, ["customers", "products"])
    _, rest = await answer(worker, "GET", "", params={"cursor": listed["next"]})
    assert [one["id"] for one in rest["backfills"]] == [ids["orders"]]
    status, one = await answer(worker, "GET", f"/{ids['orders']}")
    assert (status, one["status"], one["accepted"], one["next_at"]) == (200, "completed", 300, None)
    refused = [
        await answer(worker, "POST", f"/{ids['orders']}/cancel"),
        await answer(worker, "GET", f"/{SHOP}"),
        await answer(worker, "GET", "/00000000-0000-7000-8000-000000000000"),
        await answer(worker, "POST", "", json=asked("refunds")),
        await answer(worker, "POST", "", json=asked("orders", since="yesterday")),
        await answer(worker, "POST", "", json=asked("orders", shop="example.com")),
        await answer(worker, "POST", "", json=asked("orders", until="now")),
        await answer(worker, "GET", "", params={"status": "done"}),
        await answer(worker, "GET", "", headers={"Authorization": "Bearer wrong"}),
    ]
    assert [status for status, _ in refused] == [409, 400, 404, 400, 400, 400, 400, 400, 401]


async def test_what_comes_to_nothing_is_begun_again_and_given_up_at_last(
    database: str, tmp_path: Path
) -> None:
    weather = Weather({Mishap.BROKEN: 1.0})
    async with shop(database, tmp_path, Setup(sizes=SIZES, bulk_weather=weather)) as one:
        worker = await one.local()
        identifier = await begin(worker)
        row = await one.over(identifier)
        assert (row["status"], row["attempt"]) == ("failed", 3)
        assert row["reason"] == "the bulk operation came to nothing: internal_server_error, at 3 attempts"
        assert len(await one.operations()) == 3
        identifier = await begin(worker)
        await one.reached(identifier, lambda row: row["attempt"] == 2)
        weather.shares.clear()
        row = await one.over(identifier)
        assert (row["status"], row["accepted"]) == ("completed", 300)
        gone = await one.over(await begin(worker, shop="never-had-it.myshopify.com"))
        assert gone["status"] == "cancelled"
        assert "not installed" in gone["reason"]


async def test_a_file_that_is_gone_is_made_again_and_what_was_taken_in_is_not_taken_in_twice(
    database: str, tmp_path: Path
) -> None:
    async with shop(database, tmp_path, Setup(sizes=SIZES)) as one:
        doomed = await one.worker(dies_at="pack committed, not announced")
        identifier = await begin(doomed.client)
        await doomed.process.wait()
        for file in (tmp_path / "sandbox-bulk").iterdir():
            file.unlink()
        await one.local()
        row = await one.over(identifier)
        assert (row["status"], row["attempt"], row["accepted"], row["repeated"]) == (
            "completed",
            2,
            300,
            PACK,
        )
        assert await one.times_accepted() == [1] * 300


async def test_one_waits_its_turn_at_shopify_and_a_cancelled_one_is_stopped_there(
    database: str, tmp_path: Path
) -> None:
    weather = Weather({Mishap.SLOW: 1.0}, delay=2)
    async with shop(database, tmp_path, Setup(sizes=SIZES, bulk_weather=weather)) as one:
        start = """mutation { bulkOperationRunQuery(query: "{ orders { edges { node { id } } } }")
            { bulkOperation { id } userErrors { message } } }"""
        others = [await _started(one, start) for _ in range(5)]
        worker = await one.local()
        identifier = await begin(worker)
        row = await one.reached(identifier, lambda row: row["reason"] is not None)
        assert (row["status"], row["operation"], row["asked_at"]) == ("waiting", None, None)
        cancel = "mutation ($id: ID!) { bulkOperationCancel(id: $id) { userErrors { message } } }"
        await one.stores.graphql(one.token, cancel, id=others[0])
        await one.reached(identifier, lambda row: row["status"] == "running")
        assert (await answer(worker, "POST", f"/{identifier}/cancel"))[0] == 202
        row = await one.over(identifier)
        assert (row["status"], row["reason"]) == ("cancelled", "cancelled on request")
        [ours] = [it for it in await one.operations() if it["id"] == row["operation"]]
        assert ours["status"] in {"CANCELING", "CANCELED"}


async def _started(one: Shop, mutation: str) -> str:
    answered = await one.stores.graphql(one.token, mutation)
    identifier: str = answered["data"]["bulkOperationRunQuery"]["bulkOperation"]["id"]
    return identifier


async def test_reading_waits_for_the_handlers_and_can_be_cancelled(database: str, tmp_path: Path) -> None:
    async with shop(database, tmp_path, Setup(sizes=SIZES)) as one:
        worker = await one.local(HANDLERS="tests.integration.stuck_handlers", BACKFILL_WAITING="100")
        before = await metric(worker, PAUSES)
        identifier = await begin(worker, "customers")
        row = await one.reached(identifier, lambda row: "handlers are behind" in (row["reason"] or ""))
        assert (row["status"], row["accepted"]) == ("reading", PACK)
        assert await metric(worker, PAUSES) == before + 1
        assert (await answer(worker, "POST", f"/{identifier}/cancel"))[0] == 202
        row = await one.over(identifier)
        assert (row["status"], row["accepted"]) == ("cancelled", PACK)


async def test_who_was_erased_does_not_come_back_by_a_file_that_is_older(
    database: str, tmp_path: Path
) -> None:
    async with shop(database, tmp_path, Setup(sizes=SIZES)) as one:
        known = "{ customers(first: 1) { nodes { id } } }"
        [first] = (await one.stores.graphql(one.token, known))["data"]["customers"]["nodes"]
        keys, later = PrivacyKeys(SecretStr(SERVICE_KEY)), datetime.now(UTC) + timedelta(hours=1)
        mark = keys.customer(SHOP, "customer", first["id"].rpartition("/")[2])
        async with one.pool.acquire() as conn:
            await erase_store.bury(conn, "worker", [mark], keys.shop(SHOP), later, 30)
        worker = await one.local()
        rows = [await one.over(await begin(worker, name)) for name in ("customers", "orders")]
        assert [(row["accepted"] + row["withheld"]) for row in rows] == [290, 300]
        assert rows[0]["withheld"] == 1
        assert rows[1]["withheld"] >= 1
        everything = await bodies(one, "customers") + await bodies(one, "orders")
        assert not [body for body in everything if first["id"] in orjson.dumps(body).decode()]
