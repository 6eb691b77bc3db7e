"""The web pixel that the sandbox lets the app have."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from services.sandbox.admin_api.pixels import setting_names
from tests.integration.sandbox_kit import Sandbox, sandbox

SCOPES = "write_pixels,read_customer_events"
CREATE = """mutation ($pixel: WebPixelInput!) { webPixelCreate(webPixel: $pixel) {
    webPixel { id settings } userErrors { code field message } } }"""
UPDATE = """mutation ($id: ID!, $pixel: WebPixelInput!) { webPixelUpdate(id: $id, webPixel: $pixel) {
    webPixel { id settings } userErrors { code field message } } }"""
DELETE = """mutation ($id: ID!) { webPixelDelete(id: $id) { deletedWebPixelId userErrors { code field message } } }"""
SETTINGS = {name: f"the {name}" for name in sorted(setting_names())}


async def create(stores: Sandbox, token: str, settings: Any) -> dict[str, Any]:
    answer = await stores.graphql(token, CREATE, pixel={"settings": settings})
    payload: dict[str, Any] = answer["data"]["webPixelCreate"]
    return payload


async def test_an_app_has_one_pixel_with_the_settings_it_gave(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(SCOPES)).access_token
        missing = await stores.graphql(token, "{ webPixel { id settings } }")
        assert missing["data"]["webPixel"] is None
        assert missing["errors"]
        made = await create(stores, token, SETTINGS)
        assert orjson.loads(made["webPixel"]["settings"]) == SETTINGS
        assert (await create(stores, token, SETTINGS))["userErrors"][0]["code"] == "TAKEN"
        other = {**SETTINGS, "accountID": "another"}
        changed = await stores.graphql(token, UPDATE, id=made["webPixel"]["id"], pixel={"settings": other})
        assert changed["data"]["webPixelUpdate"]["userErrors"] == []
        shown = await stores.graphql(token, "{ webPixel { id settings } }")
        assert shown["data"]["webPixel"]["id"] == made["webPixel"]["id"]
        assert orjson.loads(shown["data"]["webPixel"]["settings"]) == other
        gone = await stores.graphql(token, DELETE, id=made["webPixel"]["id"])
        assert gone["data"]["webPixelDelete"]["deletedWebPixelId"] == made["webPixel"]["id"]
        assert "errors" in await stores.graphql(token, "{ webPixel { id } }")


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({}, "INVALID_SETTINGS", "Missing keys: accountID"),
        ({**SETTINGS, "colour": "red"}, "INVALID_SETTINGS", "Unknown keys: colour"),
        ({**SETTINGS, "accountID": 7}, "INVALID_SETTINGS", "Invalid values: accountID"),
        ("{no json", "INVALID_CONFIGURATION_JSON", "Settings"),
        ([1], "INVALID_CONFIGURATION_JSON", "Settings"),
    ],
)
async def test_settings_go_by_the_extensions_schema(
    tmp_path: Path, settings: Any, code: str, words: str
) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(SCOPES)).access_token
        made = await create(stores, token, settings)
        assert made["webPixel"] is None
        assert made["userErrors"][0]["code"] == code
        assert made["userErrors"][0]["message"].startswith(words)


async def test_settings_may_come_as_a_string(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(SCOPES)).access_token
        made = await create(stores, token, orjson.dumps(SETTINGS).decode())
        assert made["userErrors"] == []


@pytest.mark.parametrize("scopes", ["write_pixels", "read_customer_events", "read_orders"])
async def test_both_scopes_are_needed(tmp_path: Path, scopes: str) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed(scopes)).access_token
        answer = await stores.graphql(token, CREATE, pixel={"settings": SETTINGS})
        assert answer["errors"][0]["extensions"]["code"] == "ACCESS_DENIED"
