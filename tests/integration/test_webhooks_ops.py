from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from libs.common.ids import IdFactory, id_floor
from services.webhooks import routes_ops, store
from services.webhooks.config import Settings
from tests.environment import MakeSettings
from tests.integration.webhook_requests import SHOP, Door, open_door
from tests.waiting import poll


@pytest.fixture
async def door(settings: MakeSettings, database: str) -> AsyncIterator[Door]:
    async with open_door(settings(Settings, database_url=database)) as opened:
        yield opened


async def listed(door: Door, path: str = "/webhooks/deliveries", **query: str) -> dict[str, Any]:
    response = await door.ops(path, **query)
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def accepted(door: Door, body: bytes = b"{}", /, **changes: str | None) -> str:
    response = await door.deliver(body, **changes)
    assert response.status == 200
    identifier: str = (await response.json())["id"]
    return identifier


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/deliveries",
        "/webhooks/deliveries/f35ffe00-e692-435d-87be-48b31d5cf9fc",
        "/webhooks/deliveries/f35ffe00-e692-435d-87be-48b31d5cf9fc/body",
        "/webhooks/rejected",
        "/webhooks/subscriptions",
    ],
)
async def test_without_the_ops_token_there_is_nothing_to_see(door: Door, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        async with door.client.get(path, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_delivery_is_listed_with_what_is_known_of_it_but_its_body(door: Door) -> None:
    identifier = await accepted(door, b'{"hidden":1}', webhook_id="w", event_id="e")
    page = await listed(door)
    (delivery,) = page["deliveries"]
    headers = delivery.pop("headers")
    assert headers["x-shopify-topic"] == "orders/create"
    assert not [name for name in headers if "hmac" in name]
    assert delivery.pop("received_at").endswith("Z")
    assert delivery == {
        "message_id": identifier,
        "type": "webhook.orders.create",
        "shop": SHOP,
        "topic": "orders/create",
        "webhook_id": "w",
        "event_id": "e",
        "api_version": "2026-10",
        "origin": None,
        "triggered_at": "2026-11-21T03:00:00.123456Z",
        "body_bytes": 12,
    }
    assert "hidden" not in str(page)
    assert page["next"] is None


async def test_one_delivery_and_its_body(door: Door) -> None:
    body = b"<script>\xff\x00"
    headers = door.headers(body) | {"Content-Type": "text/html"}
    identifier = (await (await door.send(body, headers)).json())["id"]
    shown = await (await door.ops(f"/webhooks/deliveries/{identifier}")).json()
    assert (shown["message_id"], shown["body_bytes"]) == (identifier, len(body))
    path = f"/webhooks/deliveries/{identifier}/body"
    token = {"Authorization": f"Bearer {door.settings.ops_token.get_secret_value()}"}
    async with door.client.get(path, headers=token) as response:
        assert await response.read() == body
    assert response.content_type == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Disposition"] == "attachment"


@pytest.mark.parametrize("identifier", ["f35ffe00-e692-435d-87be-48b31d5cf9fc", "not-an-id", "0"])
async def test_a_delivery_that_is_not_there_is_404(door: Door, identifier: str) -> None:
    for path in (f"/webhooks/deliveries/{identifier}", f"/webhooks/deliveries/{identifier}/body"):
        assert (await door.ops(path)).status == 404


async def test_deliveries_are_filtered(door: Door) -> None:
    first = await accepted(door, topic="orders/create", shop_domain="one.myshopify.com")
    second = await accepted(door, topic="orders/paid", shop_domain="one.myshopify.com")
    third = await accepted(door, topic="orders/create", shop_domain="two.myshopify.com")

    async def ids(**query: str) -> list[str]:
        return [delivery["message_id"] for delivery in (await listed(door, **query))["deliveries"]]

    assert await ids() == [third, second, first]
    assert await ids(shop="One.myshopify.com") == [second, first]
    assert await ids(topic="orders/create") == [third, first]
    assert await ids(shop="one.myshopify.com", topic="orders/create") == [first]
    assert await ids(shop="nobody.myshopify.com") == []
    now = datetime.now(UTC)
    assert await ids(since=(now - timedelta(minutes=1)).isoformat()) == [third, second, first]
    assert await ids(since=(now + timedelta(minutes=1)).isoformat()) == []


async def test_pages_cover_everything_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {await accepted(door, topic=("orders/create", "orders/paid")[n % 5 == 0]) for n in range(25)}
    paid = {d["message_id"] for d in (await listed(door, topic="orders/paid"))["deliveries"]}
    monkeypatch.setattr(routes_ops, "SCAN_DEPTH", 4)  # so that the pages of a rare topic are short or empty
    assert await everything(door, limit="3") == expected
    assert await everything(door, limit="3", topic="orders/paid") == paid
    assert len(paid) == 5


async def everything(door: Door, **query: str) -> set[str]:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(100):
        page = await listed(door, **query, **({"cursor": cursor} if cursor else {}))
        seen += [delivery["message_id"] for delivery in page["deliveries"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert cursor is None
    assert len(seen) == len(set(seen))
    return set(seen)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/webhooks/deliveries", {"shop": "evil.com"}),
        ("/webhooks/deliveries", {"topic": "no topic"}),
        ("/webhooks/deliveries", {"since": "yesterday"}),
        ("/webhooks/deliveries", {"cursor": "1"}),
        ("/webhooks/deliveries", {"limit": "0"}),
        ("/webhooks/deliveries", {"limit": "501"}),
        ("/webhooks/deliveries", {"limit": "٣"}),
        ("/webhooks/rejected", {"limit": "many"}),
        ("/webhooks/rejected", {"cursor": "-1"}),
        ("/webhooks/rejected", {"cursor": "9" * 30}),
    ],
)
async def test_a_question_that_makes_no_sense_is_400(door: Door, path: str, query: dict[str, str]) -> None:
    response = await door.ops(path, **query)
    assert response.status == 400
    assert (await response.json())["detail"].startswith(next(iter(query)))


async def test_what_was_turned_away_is_listed(door: Door) -> None:
    await door.deliver(b"hidden", hmac_sha256="c2VjcmV0", webhook_id="w")
    await door.deliver(shop_domain="evil.com")

    async def both() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await listed(door, "/webhooks/rejected"))["rejected"]
        return found if len(found) == 2 else []

    newest, oldest = await poll(both)
    assert (newest["reason"], newest["shop"]) == ("invalid_shop", "evil.com")
    assert oldest.pop("at").endswith("Z")
    assert oldest.pop("id")
    assert oldest == {
        "reason": "hmac",
        "shop": SHOP,
        "topic": "orders/create",
        "webhook_id": "w",
        "remote": "127.0.0.1",
        "user_agent": "Shopify-Captain-Hook",
        "body_bytes": 6,
        "detail": "the signature does not match the body",
    }
    by_reason = await listed(door, "/webhooks/rejected", reason="hmac")
    assert [row["reason"] for row in by_reason["rejected"]] == ["hmac"]
    page = await listed(door, "/webhooks/rejected", limit="1")
    rest = await listed(door, "/webhooks/rejected", limit="1", cursor=page["next"])
    assert [row["reason"] for row in page["rejected"] + rest["rejected"]] == ["invalid_shop", "hmac"]


async def test_a_page_of_a_long_log_is_found_by_index(door: Door) -> None:
    ids = IdFactory()
    await door.database.copy_records_to_table(
        "messages", schema_name="webhooks", columns=["id", "type", "shop", "time", "content_type", "body"],
        records=[(ids.new(), "webhook.orders.create", SHOP, datetime.now(UTC), "a", b"{}") for _ in range(20_000)],
    )  # fmt: skip
    await door.database.execute("ANALYZE webhooks.messages")
    bounds = (ids.new(), id_floor(datetime.now(UTC) - timedelta(hours=1)))
    for statement, rest in ((store.FLOOR, (100,)), (store.DELIVERIES, (None, None, 100))):
        plan = await explain(door.database, statement, *bounds, *rest)
        assert "Index Scan Backward using messages_pkey" in plan
        assert "Sort" not in plan


async def explain(database: asyncpg.Connection, statement: str, *args: object) -> str:
    return "\n".join(row[0] for row in await database.fetch(f"EXPLAIN {statement}", *args))
