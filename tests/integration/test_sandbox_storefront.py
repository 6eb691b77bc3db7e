"""A store's front over HTTP: its pages, what they tell their scripts, and the pixel's modules."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from libs.common.shopify.pixel_check import fits
from services.sandbox.app import FILE
from services.sandbox.ledger import Ledger, WebPixel
from tests.integration.sandbox_kit import Sandbox, sandbox
from tests.session_tokens import SHOP

TOKEN = "ab" * 16
_TOLD = re.compile(r'<script type="application/json" id="told">(.*?)</script>', re.DOTALL)


async def text(stores: Sandbox, path: str, status: int = 200, host: str | None = None) -> str:
    headers = {"Host": host} if host else {}
    async with stores.client.get(f"{stores.settings.store_url}{path}", headers=headers) as answer:
        assert answer.status == status
        return await answer.text()


async def told(stores: Sandbox, path: str = "") -> dict[str, Any]:
    """What a page of the shop tells its scripts."""
    found = _TOLD.search(await text(stores, f"/{SHOP}/store{path}"))
    assert found is not None
    values: dict[str, Any] = orjson.loads(found[1])
    return values


async def handles(stores: Sandbox) -> list[str]:
    return re.findall(r"/store/products/([^\"]+)", await text(stores, f"/{SHOP}/store"))


async def test_products_and_collections_are_what_standard_events_carry(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        found = await handles(stores)
        assert len(found) > 10
        for handle in found:
            for variant in (await told(stores, f"/products/{handle}"))["page"]["variants"]:
                assert fits("product_viewed", {"productVariant": variant})
                assert variant["product"]["url"] == f"/products/{handle}"
        everything = await told(stores, "/collections/all")
        assert fits("collection_viewed", {"collection": everything["page"]["collection"]})
        assert len(everything["page"]["collection"]["productVariants"]) == len(found)


async def test_the_front_sells_what_the_admin_api_has(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        token = (await stores.installed("read_products")).access_token
        query = '{ products(first: 100, query: "status:active") { nodes { handle } } }'
        answer = await stores.graphql(token, query)
        active = {node["handle"] for node in answer["data"]["products"]["nodes"]}
        assert set(await handles(stores)) == active


async def test_a_search_finds_all_words_and_tells_what_was_asked(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        result = (await told(stores, "/search?q=clothing%20socks"))["page"]["searchResult"]
        assert fits("search_submitted", {"searchResult": result})
        assert result["query"] == "clothing socks"
        assert {variant["product"]["type"] for variant in result["productVariants"]} == {"Clothing"}
        assert (await told(stores, "/search?q=zebra"))["page"]["searchResult"]["productVariants"] == []
        assert (await told(stores, "/search"))["page"]["searchResult"] is None


async def test_titles_and_queries_do_not_become_markup(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        page = await text(stores, f"/{SHOP}/store/search?q=%3C/script%3E%3Cscript%3Ealert(1)%3C/script%3E")
        assert "<script>alert" not in page
        assert "<Fjord>" not in await text(stores, f"/{SHOP}/store/collections/all")


async def test_a_page_tells_the_pixels_settings_only_while_there_is_one(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as stores:
        assert (await told(stores))["pixel"] is None
    ledger = Ledger.open(tmp_path / FILE)
    ledger.store(SHOP).web_pixel = WebPixel("1", {"accountID": "k", "endpoint": "http://127.0.0.1:1"})
    ledger.save()
    async with sandbox(tmp_path) as stores:
        assert (await told(stores))["pixel"] is None  # the app is not installed
        await stores.installed()
        pixel = (await told(stores))["pixel"]
        assert pixel == {
            "settings": {"accountID": "k", "endpoint": "http://127.0.0.1:1"},
            "purposes": ["analytics"],
        }


@pytest.mark.parametrize("page", ["", "/cart", "/account", f"/checkouts/cn/{TOKEN}/contact"])
async def test_a_page_is_for_browsers_of_this_machine(tmp_path: Path, page: str) -> None:
    async with sandbox(tmp_path) as stores:
        await text(stores, f"/{SHOP}/store{page}")
        await text(stores, f"/{SHOP}/store{page}", 403, host="store.example.com")


@pytest.mark.parametrize(
    "path",
    [
        f"/{SHOP}/store/products/nothing",
        f"/{SHOP}/store/collections/nothing",
        f"/{SHOP}/store/checkouts/cn/{TOKEN}/nothing",
        f"/{SHOP}/store/checkouts/cn/nothing/contact",
        "/example.com/store",
        "/storefront/nothing.js",
        "/storefront/..%2F..%2Fapp.py",
        "/web-pixel/nothing.js",
        "/web-pixel/..%2Fpackage.json",
    ],
)
async def test_what_is_not_there_is_404(tmp_path: Path, path: str) -> None:
    async with sandbox(tmp_path) as stores:
        await text(stores, path, 404)


async def test_the_pixels_modules_are_those_of_the_extension(tmp_path: Path) -> None:
    """But for the one import that Shopify's tools would resolve."""
    async with sandbox(tmp_path) as stores:
        source = Path(__file__).parents[2] / "extensions" / "web-pixel" / "src"
        for module in sorted(source.glob("*.js")):
            served = await text(stores, f"/web-pixel/{module.name}")
            assert served.replace(
                "../storefront/web-pixels-extension.js", "@shopify/web-pixels-extension"
            ) == (module.read_text())
        assert "@shopify" not in await text(stores, "/web-pixel/index.js")
