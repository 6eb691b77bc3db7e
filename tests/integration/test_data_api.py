"""Products, orders and customers as the app's pages get them: a real auth, a sandbox store, its Admin API."""

from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from libs.common.clock import SystemClock
from libs.common.contracts.envelope import Draft
from libs.common.contracts.privacy import ERASE, Command, Subject, command_type
from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap
from tests.environment import MakeSettings
from tests.integration.auth_kit import OPS
from tests.integration.data_kit import App, data_app
from tests.session_tokens import SHOP
from tests.waiting import poll

OTHER = "sandbox-002.myshopify.com"


async def walked(app: App, path: str, **query: str) -> list[dict[str, Any]]:
    """Everything of a list, page by page."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer, content = await app.ask(path, params={**query, **more})
        assert answer.status == 200, content
        found += content[path]
        if content["next"] is None:
            return found
        more = {"cursor": content["next"]}


async def test_lists_hold_everything_once_the_last_change_first_and_single_things_have_their_parts(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    setup = Setup(sizes=Sizes(orders=45))
    async with data_app(database, tmp_path, settings, setup=setup) as app:
        orders = await walked(app, "orders", limit="20")
        changed = [order["updated_at"] for order in orders]
        assert len({order["id"] for order in orders}) == len(orders) == 45
        assert changed == sorted(changed, reverse=True)
        since = changed[10]
        recent = await walked(app, "orders", limit="250", updated_since=since)
        assert [o["id"] for o in recent] == [o["id"] for o in orders if o["updated_at"] >= since]
        products = await walked(app, "products", limit="250")
        active = await walked(app, "products", limit="7", status="active")
        assert {p["id"] for p in active} == {p["id"] for p in products if p["status"] == "ACTIVE"}
        assert 0 < len(active) < len(products)
        assert all(customer["email"] for customer in await walked(app, "customers", limit="250"))
        await _single_things_have_their_parts(app)


async def _single_things_have_their_parts(app: App) -> None:
    """And money is exact text."""
    paid = next(o for o in await walked(app, "orders") if o["display_financial_status"] == "PAID")
    _, order = await app.ask(f"orders/{paid['id']}")
    assert order["id"] == paid["id"]
    assert order["line_items"]["nodes"]
    assert order["line_items"]["has_more"] is False
    amount = order["total_price_set"]["shop_money"]["amount"]
    _, content = await app.ask(f"orders/{paid['id']}/transactions")
    took = [t for t in content["transactions"] if t["kind"] in {"SALE", "CAPTURE"}]
    assert isinstance(amount, str)
    assert sum(Decimal(t["amount_set"]["shop_money"]["amount"]) for t in took) == Decimal(amount)
    _, customer = await app.ask(f"customers/{paid['customer']['id']}")
    assert customer["number_of_orders"] >= 1
    product_id = order["line_items"]["nodes"][0]["product"]["id"]
    _, product = await app.ask(f"products/{product_id}")
    assert all(isinstance(variant["price"], str) for variant in product["variants"]["nodes"])


async def test_what_cannot_be_meant_is_refused_and_whose_data_it_is_the_session_token_alone_says(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with data_app(database, tmp_path, settings) as app:
        following = (await app.ask("orders?limit=1"))[1]["next"]
        for path in (
            "orders?limit=0", "orders?limit=251", "orders?limit=x", "orders?updated=1", "orders?status=nice",
            "customers?status=open", "orders?updated_since=soon", "orders?cursor=abc", "orders/x", "orders/0",
            f"orders?status=open&cursor={following}", f"products?cursor={following}", "orders/1?limit=1",
        ):  # fmt: skip
            answer, content = await app.ask(path)
            assert (answer.status, content["type"]) == (400, "urn:shopbus:problem:bad-parameter"), path
        long_ago = await app.ask("orders", params={"updated_since": "0001-01-01T00:00:00+14:00"})
        assert long_ago[0].status == 200
        for path in ("products/1", "orders/1", "orders/1/transactions", "customers/1"):
            answer, content = await app.ask(path)
            assert (answer.status, content["type"]) == (404, "urn:shopbus:problem:no-such-thing"), path
        await _only_a_session_token_opens_them(app)


async def _only_a_session_token_opens_them(app: App) -> None:
    """And not the operator's token, nor another shop's."""
    for headers in ({}, {"Authorization": "Bearer x.y.z"}):
        async with app.workers[0].get("/api/orders", headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["X-Shopify-Retry-Invalid-Session-Request"] == "1"
    assert (await app.ask("orders", params={"shop": OTHER}))[0].status == 401
    assert (await app.ask("orders", params={"shop": SHOP}))[0].status == 200
    assert (await app.ask("data/cache"))[0].status == 401


async def test_a_page_that_has_an_answer_already_gets_it_once(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with data_app(database, tmp_path, settings) as app:
        first, _ = await app.ask("orders")
        assert first.headers["Cache-Control"] == "private, no-cache"
        again, _ = await app.ask("orders", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.headers["X-Shopbus-Cache"]) == (304, "hit")
        assert again.headers["ETag"] == first.headers["ETag"]
        other, _ = await app.ask("orders", headers={"If-None-Match": '"another"'})
        assert other.status == 200
        ops = {"Authorization": f"Bearer {OPS}"}
        async with app.workers[0].get("/api/data/cache", headers=ops) as answer:
            assert (await answer.json())["answers"] == 1


async def test_a_scope_that_is_lacking_is_named_and_a_field_that_is_missing_too(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with data_app(database, tmp_path, settings, scopes="read_orders") as app:
        for path, scope in (("products", "read_products"), ("customers/1", "read_customers")):
            answer, content = await app.ask(path)
            assert (answer.status, content["type"]) == (403, "urn:shopbus:problem:missing-scope")
            assert scope in content["detail"]
        answer, content = await app.ask("orders")
        assert answer.headers["X-Shopbus-Missing"] == "customer"
        assert all(order["customer"] is None for order in content["orders"])
        assert await app.source("orders") == "hit"


async def test_a_shop_without_the_app_is_told_apart(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with data_app(database, tmp_path, settings, scopes=None) as app:
        await app.stores.agree()
        answer, content = await app.ask("orders")
        assert (answer.status, content["type"]) == (409, "urn:shopbus:problem:not-installed")


async def test_a_webhook_makes_every_worker_forget_what_it_changed_and_an_erasure_everything(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with data_app(database, tmp_path, settings, workers=2, data_fresh_seconds=600.0) as app:
        for topic, changed, stays in (
            ("orders.edited", "orders", "products"),
            ("products.update", "products", "orders"),
            ("app.scopes_update", "products", None),
        ):
            for worker in (0, 1):
                await poll(partial(_kept, app, worker))
            await app.webhooks.accept(Draft(f"webhook.{topic}", b"{}", shop=OTHER))
            await app.webhooks.accept(Draft(f"webhook.{topic}", b"{}", shop=SHOP))
            for worker in (0, 1):
                await poll(partial(_is_miss, app, changed, worker))
                assert stays is None or await app.source(stays, worker) == "hit"
        await _an_erasure_makes_every_worker_forget(app)


async def _an_erasure_makes_every_worker_forget(app: App) -> None:
    """The command names the shop in its body alone."""
    for worker in (0, 1):
        await poll(partial(_kept, app, worker))
    subject = Subject(SHOP, SystemClock().now(), customer_id=1)
    command = Command(uuid4(), subject)
    await app.webhooks.accept(Draft(command_type(ERASE, "worker"), command.body(), shop=""))
    for worker in (0, 1):
        await poll(partial(_is_miss, app, "orders", worker))


async def _kept(app: App, worker: int) -> bool:
    """Whether both lists are in memory."""
    return all([await app.source(path, worker) == "hit" for path in ("orders", "products")])


async def _is_miss(app: App, path: str, worker: int) -> bool:
    return await app.source(path, worker) == "miss"


async def test_an_older_answer_is_served_and_marked_while_shopify_is_away(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    setup = Setup()
    async with data_app(database, tmp_path, settings, setup=setup, data_fresh_seconds=0.001) as app:
        _, before = await app.ask("orders")
        setup.api_weather.shares[Mishap.BROKEN] = 1.0
        answer, content = await app.ask("orders")
        assert (answer.status, answer.headers["X-Shopbus-Cache"]) == (200, "stale")
        assert content == before
        answer, content = await app.ask("products")
        assert (answer.status, content["type"]) == (503, "urn:shopbus:problem:shopify-away")
        assert int(answer.headers["Retry-After"]) >= 1
