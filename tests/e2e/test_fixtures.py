"""Real webhook bodies go in signed and come out handled, on both routes."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest

from libs.common.clock import SystemClock
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from services.sandbox.deliveries import Delivery, Plan, Signer
from tests.e2e.app import OPS, SECRET, shopbus
from tests.waiting import poll

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "webhooks"
SHOP = "fixtures.myshopify.com"
MADE_UP = (
    "orders/create",
    "orders/updated",
    "products/update",
    "customers/redact",
    "app/uninstalled",
    "carts/update",
)

PRIVACY = ("customers/data_request", "customers/redact", "shop/redact")
"""What shopbus opens a case for, instead of the app's handlers."""

EFFECTS = """
CREATE TABLE worker.e2e_effects (message_id uuid, type text, body bytea)
"""


def _topic(file: Path) -> str:
    return re.sub(r"(\.\d+)?\.json$", "", file.name).replace("__", "/")


def _shop_of(body: bytes) -> str:
    """The shop a body names, where it names one: the gateway compares it with the header."""
    payload = orjson.loads(body)
    for name in ("shop_domain", "myshopify_domain"):
        try:
            return shop_domain(str(payload.get(name)))
        except InvalidShopDomain:
            continue
    return SHOP


def _deliveries() -> Iterator[Delivery]:
    clock = SystemClock()
    if not FIXTURES.is_dir():  # the project's own payloads, of the same shape
        for topic in MADE_UP:
            yield Plan(topic, [SHOP], 1, clock).delivery(0)
        return
    for file in sorted(FIXTURES.glob("*.json")):
        body = file.read_bytes()
        yield Plan(_topic(file), [_shop_of(body)], 1, clock, body=body).delivery(0)


async def _accept(session: aiohttp.ClientSession, url: str, delivery: Delivery) -> str:
    headers = Signer(SECRET.encode(), "2026-10").headers(delivery)
    async with session.post(url, data=delivery.body, headers=headers) as answer:
        assert answer.status == 200, (delivery.topic, await answer.text())
        return str((await answer.json())["id"])


@pytest.mark.parametrize("route", ["postgres", "rabbitmq"])
async def test_every_body_goes_in_signed_and_comes_out_handled(
    route: str, database: str, request: pytest.FixtureRequest
) -> None:
    broker_url = request.getfixturevalue("broker_url") if route == "rabbitmq" else None
    conn = await asyncpg.connect(database)
    await conn.execute(EFFECTS)
    sent = list(_deliveries())
    async with shopbus(database, broker_url) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("/webhooks/shopify"))
        ids = await asyncio.gather(*(_accept(session, url, delivery) for delivery in sent))
        again = await asyncio.gather(*(_accept(session, url, delivery) for delivery in sent))
        assert ids == again

        async def ended() -> bool:
            return bool(await conn.fetchval("SELECT count(*) FROM worker.history") == len(sent))

        await poll(ended, within=60)
        for message_id, delivery in zip(ids, sent, strict=True):
            async with session.get(server.make_url(f"/api/jobs/{message_id}"), headers=OPS) as answer:
                job = await answer.json()
            assert (job["status"], job["outcome"], job["shop"]) == ("completed", "completed", delivery.shop)
            async with session.get(
                server.make_url(f"/webhooks/deliveries/{message_id}/body"), headers=OPS
            ) as answer:
                assert await answer.read() == delivery.body

    bodies = {
        str(row["message_id"]): row["body"] for row in await conn.fetch("SELECT * FROM worker.e2e_effects")
    }
    orders = await conn.fetchval("SELECT count(*) FROM worker.orders")
    cases = {str(row["id"]) for row in await conn.fetch("SELECT id FROM worker.privacy_cases")}
    await conn.close()
    by_id = dict(zip(ids, sent, strict=True))
    assert all(by_id[message_id].body == body for message_id, body in bodies.items())
    of_privacy = {message_id for message_id, delivery in by_id.items() if delivery.topic in PRIVACY}
    others = {
        message_id for message_id, delivery in by_id.items() if not delivery.topic.startswith("orders/")
    } - of_privacy
    assert others <= bodies.keys()
    assert not of_privacy & bodies.keys()
    assert cases == of_privacy
    assert orders
