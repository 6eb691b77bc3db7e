"""Subscriptions as an operator sees them, and as auth's messages begin and end them."""

from typing import Any

import orjson
import pytest

from libs.common.contracts.envelope import Draft
from libs.common.contracts.subscriptions import by_api
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from services.webhooks.config import Settings
from tests.environment import MakeSettings
from tests.integration.webhook_requests import SHOP, Door, open_door
from tests.waiting import poll

DONE = "SELECT outcome FROM webhooks.history WHERE message_id = $1"
ROW = "SELECT generation, ended_at IS NULL AS alive, due_at <= now() AS due FROM webhooks.subscription_shops"
STATES = """
INSERT INTO webhooks.subscription_states (shop, topic, subscription_id, state, problem, checked_at) VALUES
    ($1, 'orders/create', 'gid://1', 'ok', NULL, now()), ($1, 'orders/paid', '', 'cannot', 'why', now()),
    ($1, 'themes/publish', 'gid://2', 'stranger', NULL, now())
"""
NOTE = """
INSERT INTO webhooks.subscription_history (shop, topic, action, detail) VALUES ($1, 'orders/create', 'created', 'there')
"""


async def tell(door: Door, message_type: str, generation: int) -> None:
    """Says what auth says over the bus, and waits until webhooks has worked on it."""
    body = orjson.dumps({"shop": SHOP, "generation": generation})
    async with (
        open_pool(door.settings) as pool,
        open_producer(door.settings, schema="auth", pool=pool) as auth,
    ):
        receipt = await auth.accept(Draft(message_type, body, shop=SHOP))
    assert await poll(lambda: door.database.fetchval(DONE, receipt.id), within=40.0) == "completed"


async def row(door: Door) -> tuple[object, ...]:
    found = await door.database.fetchrow(ROW)
    assert found is not None
    return tuple(found)


async def listed(door: Door, status: int = 200, **query: str) -> dict[str, Any]:
    response = await door.ops("/webhooks/subscriptions", **query)
    assert response.status == status
    found: dict[str, Any] = await response.json()
    return found


async def check(door: Door, shop: str) -> tuple[int, str]:
    token = {"Authorization": f"Bearer {door.settings.ops_token.get_secret_value()}"}
    address = "/webhooks/subscriptions/check"
    async with door.client.post(address, params={"shop": shop}, headers=token) as response:
        return response.status, (await response.json())["type"].rpartition(":")[2]


async def test_what_auth_tells_begins_and_ends_a_shops_checks(settings: MakeSettings, database: str) -> None:
    async with open_door(settings(Settings, database_url=database)) as door:
        assert (await listed(door, 404, shop=SHOP))["type"].endswith("no-such-shop")
        assert await listed(door) == {"shops": [], "next": None}
        await tell(door, "shop.installed", 2)
        assert await row(door) == (2, True, True)
        await tell(door, "shop.uninstalled", 1)
        assert await row(door) == (2, True, True), "of an install before"
        await tell(door, "shop.uninstalled", 2)
        assert (await row(door))[:2] == (2, False)
        await door.database.execute("UPDATE webhooks.subscription_shops SET due_at = now() + interval '1 h'")
        await tell(door, "shop.installed", 3)
        await tell(door, "shop.scopes_changed", 3)
        assert await row(door) == (3, True, True)


async def test_an_operator_sees_what_is_wanted_and_what_there_is(
    settings: MakeSettings, database: str
) -> None:
    async with open_door(settings(Settings, database_url=database)) as door:
        await door.database.execute("INSERT INTO webhooks.subscription_shops (shop) VALUES ($1)", SHOP)
        await door.database.execute(STATES, SHOP)
        await door.database.execute(NOTE, SHOP)
        found = await listed(door, shop=SHOP)
        topics = {one["topic"]: one for one in found["topics"]}
        assert set(topics) == {one.topic for one in by_api()}
        assert (topics["orders/create"]["state"], topics["orders/create"]["scope"]) == ("ok", "read_orders")
        assert (topics["orders/paid"]["state"], topics["orders/paid"]["problem"]) == ("cannot", "why")
        assert topics["products/create"]["state"] == "unknown"
        assert [one["topic"] for one in found["strangers"]] == ["themes/publish"]
        assert found["drift"] == len(topics)
        assert [one["action"] for one in found["history"]] == ["created"]
        [shop] = (await listed(door))["shops"]
        assert (shop["shop"], shop["not_ok"]) == (SHOP, 2)
        assert (await listed(door, 400, shop="evil.com"))["type"].endswith("bad-parameter")
        assert await check(door, SHOP) == (409, "no-app-url")


@pytest.mark.parametrize(
    ("changes", "uri"),
    [
        ({}, None),
        ({"app_url": "https://app.example.com/"}, "https://app.example.com/webhooks/shopify"),
        (
            {"sandbox_store_url": "http://127.0.0.1:8080/sandbox", "port": 8080},
            "http://127.0.0.1:8080/webhooks/shopify",
        ),
    ],
)
def test_shopify_is_pointed_at_the_apps_address_and_nowhere_else(
    settings: MakeSettings, database: str, changes: dict[str, Any], uri: str | None
) -> None:
    assert settings(Settings, database_url=database, **changes).webhook_uri == uri
