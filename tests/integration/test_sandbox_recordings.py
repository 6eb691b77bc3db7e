"""The sandbox's answers beside recorded ones of Shopify: the same keys, and values of the same kind."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.sandbox.admin_api.buckets import Rate
from services.sandbox.setup import Setup
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.recorded_answers import RECORDED, recording, recordings_needed

pytestmark = recordings_needed

SCOPES = "read_orders,read_products,read_customers,write_pixels,read_customer_events"
_FORMS = {
    "global id": r"gid://shopify/\w+/\d+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "decimal": r"\d+\.\d+",
    "whole number": r"\d+",
    "constant": r"[A-Z][A-Z_]+",
}


def form(value: Any) -> str:
    """What kind of value it is; for text, in which spelling."""
    if not isinstance(value, str):
        return (
            "number"
            if isinstance(value, int | float) and not isinstance(value, bool)
            else type(value).__name__
        )
    return next((name for name, shape in _FORMS.items() if re.fullmatch(shape, value)), "text")


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where our answer has other keys or another kind of value than theirs. What is null at either side fits."""
    if ours is None or theirs is None:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        odd = [f"{path}: {key} on one side only" for key in ours.keys() ^ theirs.keys()]
        both = [key for key in theirs if key in ours]
        return odd + [found for key in both for found in differences(ours[key], theirs[key], f"{path}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        pairs = [(one, theirs[0]) for one in ours[:5]] if theirs else []
        return [found for one, other in pairs for found in differences(one, other, f"{path}[]")]
    anything = isinstance(ours, str) and form(theirs) == "text"
    return [] if anything or form(ours) == form(theirs) else [f"{path}: {ours!r} and {theirs!r}"]


def test_the_comparison_finds_what_differs() -> None:
    theirs = {"a": "gid://shopify/Order/1", "b": [{"c": "2026-01-01T00:00:00Z"}], "n": None, "m": "1.50"}
    assert differences(theirs, theirs) == []
    assert differences({**theirs, "a": 1}, theirs) == [".a: 1 and 'gid://shopify/Order/1'"]
    assert differences({**theirs, "b": [{"c": "soon"}]}, theirs) == [
        ".b[].c: 'soon' and '2026-01-01T00:00:00Z'"
    ]
    assert differences({"a": "gid://shopify/Order/2", "b": [], "n": 1}, theirs) == [": m on one side only"]


async def app(stores: Sandbox) -> str:
    return (await stores.installed(SCOPES)).access_token


@pytest.mark.parametrize(
    "name", ["customers_catalog.json", "orders_catalog_next_page.json", "currentAppAccessScopes.json"]
)
async def test_queries_are_answered_in_shopifys_shape(tmp_path: Path, name: str) -> None:
    async with sandbox(tmp_path) as stores:
        assert differences(await stores.graphql(await app(stores), RECORDED[name]), recording(name)) == []


async def test_a_bulk_operation_has_shopifys_shape(tmp_path: Path) -> None:
    query = """mutation { bulkOperationRunQuery(query: "{ products { edges { node { id title } } } }") { bulkOperation {
        id status type errorCode createdAt completedAt objectCount rootObjectCount fileSize url partialDataUrl query }
        userErrors { field message } } }"""
    async with sandbox(tmp_path) as stores:
        answer = await stores.graphql(await app(stores), query)
        assert differences(answer, recording("bulkOperationRunQuery.json")) == []


async def test_subscriptions_have_shopifys_shape(tmp_path: Path) -> None:
    create = """mutation { webhookSubscriptionCreate(topic: ORDERS_CREATE, webhookSubscription: {
        uri: "https://example.com/hooks", includeFields: ["id"]}) { webhookSubscription { id topic format includeFields
        metafieldNamespaces filter createdAt updatedAt endpoint { __typename
        ... on WebhookHttpEndpoint { callbackUrl } } }
        userErrors { field message } } }"""
    page = """{ webhookSubscriptions(first: 2) { nodes { id topic format createdAt updatedAt endpoint { __typename
        ... on WebhookHttpEndpoint { callbackUrl } } } edges { cursor node { id topic } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        made = await stores.graphql(token, create)
        assert differences(made, recording("webhookSubscriptionCreate.json")) == []
        listed = await stores.graphql(token, page)
        assert differences(listed, recording("webhookSubscriptions_firstPage.json")) == []


async def test_a_pixel_and_its_refusals_have_shopifys_shape(tmp_path: Path) -> None:
    create = """mutation ($settings: JSON!) { webPixelCreate(webPixel: {settings: $settings}) {
        userErrors { field message code } webPixel { settings id } } }"""
    async with sandbox(tmp_path) as stores:
        token = await app(stores)
        refused = await stores.graphql(token, create, settings={})
        assert differences(refused["data"], recording("webPixelCreate_invalid_settings.json")) == []
        made = await stores.graphql(
            token, create, settings={"accountID": "1", "endpoint": "https://example.com"}
        )
        assert differences(made, recording("webPixelCreate.2.json")) == []
        wrong = await stores.graphql(token, "mutation { webPixelDelete(id: 1) { webPixel { status } } }")
        theirs = recording("webPixelCreate_undefinedField_error.json")["errors"][0]
        assert wrong["errors"][0]["extensions"].keys() == theirs["extensions"].keys()


async def test_refusals_have_shopifys_shape(tmp_path: Path) -> None:
    async with sandbox(tmp_path, setup=Setup(rate=Rate(1, 30))) as stores:
        token = (await stores.installed("read_products")).access_token
        throttled = await stores.graphql(token, "{ products(first: 60) { nodes { id } } }")
        assert differences(throttled, recording("throttled.json")) == []
        denied = await stores.graphql(token, "{ orders(first: 1) { nodes { id } } }")
        theirs = recording("products_with_errors_partial.json")["errors"][0]
        assert differences(denied["errors"][0]["extensions"], theirs["extensions"]) == []
        costly = await stores.graphql(
            token, "{ products(first: 250) { nodes { variants(first: 9) { nodes { id } } } } }"
        )
        assert differences(costly, recording("max_cost_exceeded.json")) == []
