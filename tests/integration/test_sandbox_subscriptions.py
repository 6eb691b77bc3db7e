"""What the sandbox tells the app, and what it lets the app subscribe to."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from libs.common.shopify.signatures import Signer, WebhookVerifier
from services.sandbox.news import Losses
from services.sandbox.sender import Patience
from services.sandbox.setup import Setup
from tests.integration.receiver import Receiver
from tests.integration.sandbox_kit import Sandbox, sandbox, subscribe
from tests.session_tokens import CLIENT_ID, SECRET, SHOP
from tests.waiting import poll

LIST = """query ($topics: [WebhookSubscriptionTopic!], $uri: String, $first: Int = 10, $after: String) {
    webhookSubscriptions(first: $first, after: $after, topics: $topics, uri: $uri) {
        nodes { id topic uri filter name includeFields } pageInfo { hasNextPage endCursor } } }"""
UPDATE = """mutation ($id: ID!, $input: WebhookSubscriptionInput!) {
    webhookSubscriptionUpdate(id: $id, webhookSubscription: $input) {
        webhookSubscription { id topic uri } userErrors { field message } } }"""
DELETE = """mutation ($id: ID!) { webhookSubscriptionDelete(id: $id) {
    deletedWebhookSubscriptionId userErrors { field message } } }"""
HASTE = Patience().scaled(0.0001)


def door(stores: Sandbox) -> str:
    return f"{stores.settings.public_url}/webhooks/shopify"


async def app(stores: Sandbox) -> str:
    return (await stores.installed("read_orders,read_products,read_customers")).access_token


async def listed(stores: Sandbox, token: str, **variables: Any) -> list[dict[str, Any]]:
    found = await stores.graphql(token, LIST, **variables)
    nodes: list[dict[str, Any]] = found["data"]["webhookSubscriptions"]["nodes"]
    return nodes


async def test_subscriptions_are_made_found_moved_and_deleted(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        made = (await subscribe(stores, token, "ORDERS_CREATE", door(stores)))["webhookSubscription"]
        await subscribe(stores, token, "PRODUCTS_UPDATE", "https://app.example.com/hooks", name="goods")
        assert [one["topic"] for one in await listed(stores, token)] == ["ORDERS_CREATE", "PRODUCTS_UPDATE"]
        assert [one["id"] for one in await listed(stores, token, topics=["ORDERS_CREATE"])] == [made["id"]]
        assert [one["name"] for one in await listed(stores, token, uri="https://app.example.com/hooks")] == [
            "goods"
        ]
        moved = await stores.graphql(token, UPDATE, id=made["id"], input={"uri": "https://app.example.com/2"})
        assert moved["data"]["webhookSubscriptionUpdate"]["webhookSubscription"]["uri"].endswith("/2")
        gone = await stores.graphql(token, DELETE, id=made["id"])
        assert gone["data"]["webhookSubscriptionDelete"]["deletedWebhookSubscriptionId"] == made["id"]
        again = (await stores.graphql(token, DELETE, id=made["id"]))["data"]["webhookSubscriptionDelete"]
        assert again["userErrors"] == [{"field": ["id"], "message": "Webhook subscription does not exist"}]
        assert [one["topic"] for one in await listed(stores, token)] == ["PRODUCTS_UPDATE"]


@pytest.mark.parametrize(
    ("topic", "uri", "message"),
    [
        ("ORDERS_CREATE", "https://app.example.com/hooks", "Address for this topic has already been taken"),
        ("ORDERS_PAID", "http://app.example.com/hooks", "Address protocol http:// is not supported"),
        ("ORDERS_PAID", "", "Address can't be blank"),
        ("ORDERS_PAID", "nowhere", "Address is invalid"),
        (
            "INVENTORY_LEVELS_UPDATE",
            "https://app.example.com/hooks",
            "The app needs the read_inventory access scope",
        ),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused_in_words(
    tmp_path: Path, topic: str, uri: str, message: str
) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", "https://app.example.com/hooks")
        refused = await subscribe(stores, token, topic, uri)
        assert refused["webhookSubscription"] is None
        assert refused["userErrors"][0]["message"].startswith(message)
        assert len(await listed(stores, token)) == 1


async def test_the_same_topic_and_address_with_another_filter_is_another_subscription(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        for text in ("", "id:1"):
            assert not (await subscribe(stores, token, "ORDERS_CREATE", door(stores), filter=text))[
                "userErrors"
            ]


async def test_pages_of_subscriptions_hold_each_once(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        for number in range(5):
            await subscribe(stores, token, "ORDERS_CREATE", f"https://app.example.com/{number}")
        seen, after = list[str](), None
        while True:
            page = (await stores.graphql(token, LIST, first=2, after=after))["data"]["webhookSubscriptions"]
            seen += [one["uri"] for one in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert seen == [f"https://app.example.com/{number}" for number in range(5)]


async def test_each_subscription_is_told_once_and_signed(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", door(stores), name="first")
        await subscribe(
            stores, token, "ORDERS_CREATE", f"{door(stores)}?again", includeFields=["id", "updated_at"]
        )
        await stores.happen("orders/create", count=3)
        await stores.happen("products/update")
        await poll(lambda: len(stores.app.requests) == 6)
        ids = stores.app.ids()
        assert len(set(ids)) == 6
        events = {headers["x-shopify-event-id"] for headers, _ in stores.app.requests}
        assert len(events) == 3
        for headers, body in stores.app.requests:
            assert WebhookVerifier(SECRET).signer(body, headers["x-shopify-hmac-sha256"]) is Signer.CURRENT
            assert headers["x-shopify-shop-domain"] == SHOP
            assert ("x-shopify-name" in headers) == (len(orjson.loads(body)) > 2)


async def test_privacy_topics_reach_the_app_without_a_subscription(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        await stores.happen("customers/data_request", number=2)
        await stores.happen("customers/redact", number=2)
        await stores.happen("shop/redact")
        await poll(lambda: len(stores.app.requests) == 3)
        told = {headers["x-shopify-topic"]: orjson.loads(body) for headers, body in stores.app.requests}
        asked, redacted = told["customers/data_request"], told["customers/redact"]
        assert asked["customer"] == redacted["customer"]
        assert asked["orders_requested"] == redacted["orders_to_redact"] != []
        assert told["shop/redact"] == {"shop_id": asked["shop_id"], "shop_domain": SHOP}


class Refusing:
    """An app that refuses while it is told to."""

    def __init__(self, *topics: str) -> None:
        self.topics = set(topics)

    async def __call__(self, taker: Receiver, request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=500 if request.headers["X-Shopify-Topic"] in self.topics else 200)


async def test_a_subscription_whose_every_retry_fails_is_deleted(tmp_path: Path) -> None:
    refusing = Refusing("orders/create", "customers/redact")
    async with sandbox(tmp_path, patience=HASTE, behave=refusing) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", door(stores))
        await subscribe(stores, token, "ORDERS_DELETE", door(stores))
        await stores.happen("customers/redact")
        await stores.happen("orders/create")
        await poll(lambda: len(stores.app.requests) == 18)

        async def one_is_left() -> bool:
            return [one["topic"] for one in await listed(stores, token)] == ["ORDERS_DELETE"]

        await poll(one_is_left)
        assert len(set(stores.app.ids())) == 2
        refusing.topics.clear()
        await stores.happen("customers/redact")
        await poll(lambda: len(stores.app.requests) == 19)


async def test_a_share_of_deliveries_gets_lost_and_is_counted(tmp_path: Path) -> None:
    losses = Losses(share=1.0)
    async with sandbox(tmp_path, setup=Setup(losses=losses)) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", door(stores))
        await stores.happen("orders/create", count=4)
        losses.share = 0.0
        [kept] = await stores.happen("orders/create")
        await poll(lambda: stores.app.requests)
        assert [orjson.loads(body)["id"] for _, body in stores.app.requests] == [kept]
        assert (await stores.overview())["deliveries"]["lost"] == 4
        found = await stores.graphql(token, "{ ordersCount { count } }")
        assert found["data"]["ordersCount"]["count"] == 255


async def test_an_uninstall_takes_subscriptions_and_the_pixel_along(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", door(stores))
        address = f"{stores.settings.store_url}/{SHOP}/admin/apps/{CLIENT_ID}/uninstall"
        async with stores.client.post(address, allow_redirects=False) as answer:
            assert answer.status == 303
        await stores.happen("orders/create")
        await poll(lambda: stores.app.requests)
        assert [headers["x-shopify-topic"] for headers, _ in stores.app.requests] == ["app/uninstalled"]
        assert await listed(stores, await app(stores)) == []


async def test_nothing_is_sent_to_other_machines(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", "https://app.example.com/hooks")
        await subscribe(stores, token, "ORDERS_CREATE", "pubsub://project:topic")
        await stores.happen("orders/create")
        assert (await stores.overview())["deliveries"]["elsewhere"] == 2


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"topic": "orders/eaten"}, 422),
        ({"topic": "orders/paid", "number": 10**6}, 422),
        ({"topic": "orders/create", "count": "many"}, 422),
        ({"topic": "orders/create", "count": 10_001}, 422),
    ],
)
async def test_what_cannot_happen_is_a_problem(tmp_path: Path, form: dict[str, Any], status: int) -> None:
    async with sandbox(tmp_path) as stores:
        address = f"{stores.addresses.store(SHOP)}/admin/happen"
        async with stores.client.post(address, data=form) as answer:
            assert answer.status == status


async def test_the_admin_shows_what_there_is_and_what_was_told(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        await subscribe(stores, token, "ORDERS_CREATE", door(stores))
        address = f"{stores.addresses.store(SHOP)}/admin"
        form = {"topic": "orders/create", "count": "50"}
        async with stores.client.post(f"{address}/happen", data=form) as answer:
            text = await answer.text()
        assert "300 orders" in text
        assert door(stores) in text
        await poll(lambda: len(stores.app.requests) == 50)
