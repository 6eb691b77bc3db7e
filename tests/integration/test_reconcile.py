"""What the store lost is found, fed once, and proven to be there."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import orjson
from prometheus_client import REGISTRY

from services.sandbox.admin_api.buckets import Rate
from services.sandbox.news import Losses
from tests.environment import MakeSettings
from tests.integration.reconcile_kit import App, comparing, one_in_a_hundred, quiet
from tests.session_tokens import SHOP

MIRROR = "SELECT order_id, name, financial_status, total_price, updated_at FROM worker.orders WHERE shop = $1"
FED = "SELECT count(*) FROM webhooks.messages WHERE dataschema = '2026-10+reconciled'"
DONE = "SELECT outcome FROM worker.history WHERE message_id = $1"
BODIES = """
SELECT f.body AS fed, d.body AS delivered FROM webhooks.messages AS f JOIN webhooks.messages AS d USING (type)
WHERE f.dataschema LIKE '%+reconciled' AND d.dataschema NOT LIKE '%+reconciled'
  AND convert_from(f.body, 'UTF8')::jsonb -> 'id' = convert_from(d.body, 'UTF8')::jsonb -> 'id'
"""
ALL = 1.0
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def totals(ledger: dict[str, Any]) -> dict[str, int]:
    names = ("at_shopify", "arrived", "reconciled", "missing", "late")
    return {name: sum(family[name] for family in ledger["families"]) for name in names}


def tells_the_same(fed: Any, delivered: Any, name: str = "") -> None:
    """All that the fed payload names, Shopify's webhook names too, and says the same of it."""
    if isinstance(fed, dict):
        for key, value in fed.items():
            tells_the_same(value, delivered[key], key)
    elif isinstance(fed, list):
        for one, other in zip(fed, delivered, strict=True):
            tells_the_same(one, other, name)
    elif isinstance(fed, str) and _MOMENT.match(fed):
        assert datetime.fromisoformat(fed) == datetime.fromisoformat(delivered), name
    elif name == "tags":
        assert sorted(fed.split(", ")) == sorted(delivered.split(", "))
    else:
        assert fed == delivered, name


async def mirror_is_the_store(app: App, ids: set[int]) -> None:
    """The handler that ships keeps each of these orders as the store has it."""
    store = await app.store_orders()
    expected = {
        number: (
            node["name"],
            node["displayFinancialStatus"].lower(),
            Decimal(node["totalPriceSet"]["shopMoney"]["amount"]),
            node["updatedAt"],
        )
        for number, node in store.items()
        if number in ids
    }
    kept = {
        row["order_id"]: (
            row["name"], row["financial_status"], row["total_price"], f"{row['updated_at']:%Y-%m-%dT%H:%M:%SZ}",
        )
        for row in await app.pool.fetch(MIRROR, SHOP)
    }  # fmt: skip
    assert {number: kept.get(number) for number in ids} == expected


async def test_after_one_run_nothing_of_a_store_that_loses_one_in_a_hundred_is_missing(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings, setup=quiet(one_in_a_hundred())) as app:
        made = set(await app.happen("orders/create", 120))
        await app.next_second()
        touched = made | set(await app.happen("orders/paid", 50))
        await app.happen("products/create", 20)
        await app.happen("customers/create", 20)
        lost = await app.lost()
        assert lost >= 3
        ledger = await app.reconcile()
        await app.worked()
        assert ledger["verdict"] == "complete"
        sums = totals(ledger)
        assert sums["missing"] == 0
        assert sums["reconciled"] == lost
        assert sums["at_shopify"] == sums["arrived"] + lost
        await mirror_is_the_store(app, touched)
        for one in ledger["lost"]:
            assert await app.pool.fetchval(DONE, one["message_id"]) in {"completed", "unhandled"}

        fed = await app.pool.fetchval(FED)
        again = await app.reconcile()
        assert again["verdict"] == "complete"
        assert totals(again) == sums
        assert await app.pool.fetchval(FED) == fed == len(ledger["lost"])


async def test_a_lost_creation_is_told_although_a_later_change_came(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings) as app:
        app.losses.share = ALL
        [order] = await app.happen("orders/create")
        app.losses.share = 0.0
        await app.next_second()
        number = (await app.stores.overview())["counts"]["orders"] - 1
        assert await app.happen("orders/updated", number=number) == [order]
        ledger = await app.reconcile()
        assert [(one["topic"], one["resource_id"]) for one in ledger["lost"]] == [("orders/create", order)]


async def test_what_comes_late_changes_nothing_and_is_counted(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings) as app:
        app.losses.share = ALL
        orders = set(await app.happen("orders/create", 5))
        await app.happen("products/create", 2)
        await app.happen("customers/create")
        app.losses.share = 0.0
        ledger = await app.reconcile()
        assert totals(ledger)["reconciled"] == 8
        await app.worked()
        await app.late()
        again = await app.reconcile()
        await app.worked()
        assert again["verdict"] == "complete"
        sums = totals(again)
        assert (sums["at_shopify"], sums["missing"], sums["late"]) == (8, 0, 8)
        assert len(again["lost"]) == 8
        bodies = await app.pool.fetch(BODIES)
        assert len(bodies) == 8
        for row in bodies:
            tells_the_same(orjson.loads(row["fed"]), orjson.loads(row["delivered"]))
        await mirror_is_the_store(app, orders)


async def test_operators_see_where_a_message_comes_from_and_who_was_erased_is_not_fed(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings) as app:
        app.losses.share = ALL
        [erased] = await app.happen("customers/create")
        await app.bury(erased)
        await app.next_second()
        [customer] = await app.happen("customers/create")
        ledger = await app.reconcile()
        [one] = ledger["lost"]
        async with app.webhooks.get(
            f"/webhooks/deliveries/{one['message_id']}", headers=app.headers
        ) as answer:
            shown = await answer.json()
        assert (shown["origin"], shown["api_version"]) == ("reconciled", "2026-10")
        assert (shown["topic"], shown["shop"]) == ("customers/create", SHOP)
        async with app.webhooks.get(
            f"/webhooks/deliveries/{one['message_id']}/body", headers=app.headers
        ) as answer:
            payload = await answer.json(content_type=None)
        assert payload["id"] == customer
        assert payload["email"].endswith("@example.com")
        assert (ledger["verdict"], totals(ledger)["at_shopify"]) == ("complete", 1), (
            "who was erased does not come back"
        )


async def test_a_shop_with_few_points_is_compared_all_the_same(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    losses = Losses(0.2, Random(3))
    async with comparing(database, tmp_path, settings, setup=quiet(losses, Rate(300, 400))) as app:
        await app.happen("orders/create", 20)
        ledger = await app.reconcile()
        assert ledger["verdict"] == "complete"
        assert totals(ledger)["reconciled"] == await app.lost() > 0


async def test_a_run_that_has_had_its_time_is_gone_on_with(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings, reconcile_run_seconds=0.001) as app:
        before = turns()
        app.losses.share = ALL
        await app.happen("orders/create", 11)
        app.losses.share = 0.0
        ledger = await app.reconcile()
        assert turns() - before >= 3, "four are fed at a time"
        assert ledger["verdict"] == "complete"
        assert totals(ledger)["reconciled"] == await app.pool.fetchval(FED) == 11


def turns() -> float:
    return REGISTRY.get_sample_value("reconcile_runs_total", {"outcome": "goes_on"}) or 0.0
