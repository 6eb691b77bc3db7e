"""The merchant switches the pixel on and off; installs and uninstalls do it for them."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from libs.common.contracts.envelope import Draft
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from services.ingest.config import Settings
from tests.environment import MakeSettings
from tests.integration.auth_kit import session_token
from tests.integration.ingest_kit import OTHER_SHOP, SHOP, Ingesting, event, ingesting
from tests.integration.pixel_stand_in import PixelShops, pixel_shops
from tests.integration.shopify_stand_in import KEY, SECRET
from tests.log_capture import logged
from tests.waiting import poll

NEW = "new.myshopify.com"
ADDRESS = "/ingest/extension"
APP = "https://app.example.com"


@pytest.fixture
async def shopify() -> AsyncIterator[PixelShops]:
    async with pixel_shops() as shops:
        yield shops


@pytest.fixture
async def door(database: str, shopify: PixelShops, settings: MakeSettings) -> AsyncIterator[Ingesting]:
    mine = settings(
        Settings, database_url=database, shopify_api_key=KEY, shopify_api_secret=SECRET, app_url=APP,
        service_key="k" * 64, auth_url=shopify.shopify.auth_url, sandbox_store_url=shopify.shopify.url,
    )  # fmt: skip
    async with ingesting(mine) as running:
        yield running


async def ask(door: Ingesting, method: str, shop: str = NEW, body: object = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {session_token(shop)}"}
    data = None if body is None else orjson.dumps(body)
    async with door.client.request(method, ADDRESS, headers=headers, data=data) as answer:
        return answer.status, await answer.json()


async def tell(door: Ingesting, message_type: str, shop: str, generation: int) -> None:
    """Says what auth says over the bus, and waits until ingest has worked on it."""
    body = orjson.dumps({"shop": shop, "generation": generation})
    async with (
        open_pool(door.settings) as pool,
        open_producer(door.settings, schema="auth", pool=pool) as auth,
    ):
        receipt = await auth.accept(Draft(message_type, body, shop=shop))
    done = "SELECT outcome FROM ingest.history WHERE message_id = $1"
    assert await poll(lambda: door.database.fetchval(done, receipt.id), within=40.0) == "completed"


async def test_a_pixel_that_is_not_there_yet_is_no_reason_to_warn(door: Ingesting) -> None:
    with logged("DEBUG") as written:
        assert (await ask(door, "GET"))[0] == 200
    told = [line["level"] for line in written.lines if line.get("operation") == "WebPixel"]
    assert told == ["debug"]


async def test_switching_on_makes_a_key_and_shopifys_pixel(door: Ingesting, shopify: PixelShops) -> None:
    status, content = await ask(door, "PUT")
    assert status == 200
    [key] = [key["key"] for key in content["keys"]]
    assert shopify.pixels[NEW]["settings"] == {"accountID": key, "endpoint": APP}
    assert (content["status"], content["in_step"], content["pixel_id"]) == (
        "active", True, shopify.pixels[NEW]["id"],
    )  # fmt: skip
    assert content["hosts"] == [f"www.{NEW}.example"]
    assert (await door.send(event(), key=key)).status == 204


async def test_switching_on_again_changes_nothing(door: Ingesting, shopify: PixelShops) -> None:
    first = (await ask(door, "PUT"))[1]
    again = (await ask(door, "PUT"))[1]
    assert again == first
    assert shopify.calls == ["webPixelCreate"]


async def test_a_pixel_that_another_process_has_just_made_is_taken_over(
    door: Ingesting, shopify: PixelShops
) -> None:
    shopify.pixels[NEW] = {"id": "gid://shopify/WebPixel/9", "settings": '{"accountID": "old"}'}
    shopify.hidden = 1
    status, content = await ask(door, "PUT")
    assert (status, content["pixel_id"], content["in_step"]) == (200, "gid://shopify/WebPixel/9", True)
    assert shopify.calls == ["webPixelCreate", "webPixelUpdate"]


async def test_a_new_key_takes_over_and_the_old_one_works_on_for_a_while(
    door: Ingesting, shopify: PixelShops
) -> None:
    old = (await ask(door, "PUT"))[1]["keys"][0]["key"]
    status, content = await ask(door, "PUT", body={"rotate": True})
    new = shopify.pixels[NEW]["settings"]["accountID"]
    assert (status, new != old, content["in_step"]) == (200, True, True)
    assert {key["key"]: key["ends_at"] is None for key in content["keys"]} == {new: True, old: False}
    for key in (old, new):
        assert (await door.send(event(), key=key)).status == 204


async def test_switching_off_refuses_events_and_removes_shopifys_pixel(
    door: Ingesting, shopify: PixelShops
) -> None:
    key = (await ask(door, "PUT"))[1]["keys"][0]["key"]
    status, content = await ask(door, "DELETE")
    assert (status, content["status"], content["shopify"]) == (
        200, "inactive", {"reached": True, "error": None, "pixel": None},
    )  # fmt: skip
    assert (await door.send(event(), key=key)).status == 403
    assert shopify.pixels == {}
    assert (await ask(door, "DELETE"))[0] == 200


async def test_what_is_shown_tells_both_sides_apart(door: Ingesting, shopify: PixelShops) -> None:
    assert (await ask(door, "GET"))[1]["in_step"] is True  # neither side has any
    await ask(door, "PUT")
    del shopify.pixels[NEW]
    assert (await ask(door, "GET"))[1]["in_step"] is False
    shopify.down = True
    status, content = await ask(door, "GET")
    assert (status, content["status"], content["in_step"]) == (200, "active", None)
    assert content["shopify"]["reached"] is False


async def test_while_shopify_is_away_the_wish_is_kept_and_done_later(
    door: Ingesting, shopify: PixelShops
) -> None:
    shopify.down = True
    assert (await ask(door, "PUT"))[0] in {502, 503}
    shopify.down = False
    assert (await ask(door, "GET"))[1]["wanted"] is True
    assert (await ask(door, "PUT"))[1]["in_step"] is True


async def test_an_uninstall_ends_it_and_a_reinstall_brings_it_back(
    door: Ingesting, shopify: PixelShops
) -> None:
    key = (await ask(door, "PUT"))[1]["keys"][0]["key"]
    del shopify.pixels[NEW]  # as Shopify does at an uninstall
    await tell(door, "shop.uninstalled", NEW, 1)
    assert (await ask(door, "GET"))[1]["status"] == "inactive"
    await tell(door, "shop.installed", NEW, 2)
    content = (await ask(door, "GET"))[1]
    assert (content["status"], content["in_step"]) == ("active", True)
    assert shopify.pixels[NEW]["settings"]["accountID"] == key


async def test_an_uninstall_that_comes_late_does_not_end_the_next_install(
    door: Ingesting, shopify: PixelShops
) -> None:
    await tell(door, "shop.installed", NEW, 2)
    await ask(door, "PUT")
    await tell(door, "shop.uninstalled", NEW, 1)
    assert (await ask(door, "GET"))[1]["status"] == "active"
    await tell(door, "shop.uninstalled", NEW, 2)
    await tell(door, "shop.installed", NEW, 2)
    assert (await ask(door, "GET"))[1]["status"] == "inactive"


async def test_a_shop_that_never_had_the_pixel_gets_none_by_installing(
    door: Ingesting, shopify: PixelShops
) -> None:
    await tell(door, "shop.installed", NEW, 1)
    assert shopify.calls == []
    assert (await ask(door, "GET"))[1]["wanted"] is False


async def test_each_shop_sees_its_own(door: Ingesting) -> None:
    await ask(door, "PUT")
    assert (await ask(door, "GET", OTHER_SHOP))[1]["keys"] == []
    assert [key["key"] for key in (await ask(door, "GET", SHOP))[1]["keys"]] == [door.key]


@pytest.mark.parametrize("body", [[], {"rotate": 1}, {"hosts": "x"}, {"hosts": ["a b"]}, {"other": 1}])
async def test_a_wish_that_cannot_be_meant_is_refused(door: Ingesting, body: object) -> None:
    assert (await ask(door, "PUT", body=body))[0] == 400


async def test_only_who_shows_a_session_token_may_ask(door: Ingesting) -> None:
    async with door.client.get(ADDRESS) as answer:
        assert answer.status == 401
