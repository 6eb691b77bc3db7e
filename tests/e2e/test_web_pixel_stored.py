"""From a shopper's browser to rows: the app's pixel, ingest, the worker and Postgres, none of them played."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from playwright.async_api import Browser, BrowserContext, Page

from libs.common.shopify.pixel_marks import names
from tests.e2e.shopper import CUSTOM, STANDARD, Shopper, enter
from tests.e2e.shopping import SHOP, install, uninstall
from tests.e2e.stores import Stores, open_stores
from tests.waiting import poll

SCOPES = "write_pixels,read_customer_events,read_products"
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
ROWS = """
SELECT event_id, name, kind, seq, client_id, version, marks, content::text
FROM worker.pixel_events WHERE shop = $1 ORDER BY seq
"""


@asynccontextmanager
async def active_pixel(
    browser: Browser, database: str, folder: Path
) -> AsyncIterator[tuple[Stores, BrowserContext, Page]]:
    """A store whose merchant has installed the app and switched its pixel on."""
    async with open_stores(database, folder, scopes=SCOPES, whole=True) as stores:
        context = await browser.new_context(user_agent=AGENT)
        page = await context.new_page()
        await install(page, stores)
        await page.goto(front(stores))
        await page.click("#activate")
        await page.wait_for_selector("text=runs on this store once you agree")
        yield stores, context, page
        await context.close()


def front(stores: Stores) -> str:
    return f"{stores.url}/sandbox/{SHOP}/store"


async def rows(stores: Stores) -> list[dict[str, Any]]:
    return [dict(row) for row in await stores.pool.fetch(ROWS, SHOP)]


async def stored(stores: Stores, count: int) -> list[dict[str, Any]]:
    """The rows, once there are so many."""

    async def complete() -> list[dict[str, Any]]:
        found = await rows(stores)
        return found if len(found) >= count else []

    return await poll(complete, within=30)


def told(*tabs: list[dict[str, Any]]) -> dict[str, str]:
    """What pages gave the pixel, which is all but what they saw before there was one and before the shopper agreed."""
    return {
        event["id"]: event["name"]
        for tab in tabs
        for event in tab
        if event["state"] not in {"no pixel", "held"}
    }


async def test_a_shoppers_events_are_rows_once_whatever_the_browser_goes_through(
    browser: Browser, database: str, tmp_path: Path
) -> None:
    """A visit with every kind of event, a storm of reloads, time offline, and a tab that closes with events in hand."""
    async with active_pixel(browser, database, tmp_path) as (stores, context, page):
        shopper = Shopper(page, front(stores))
        await shopper.agree()
        await shopper.shop()
        await shopper.taken()  # what a page has not yet handed to the pixel dies with it
        for _ in range(10):
            await shopper.page.reload(wait_until="commit")
            await shopper.taken()
        await context.set_offline(offline=True)
        await shopper.publish(10)
        await shopper.page.wait_for_selector('#events [data-state="no answer"]')
        await context.set_offline(offline=False)
        await shopper.publish(10)
        await shopper.taken()
        seen = await shopper.seen()
        await shopper.page.close()
        again = await enter(context, front(stores))
        await again.visit()
        expected = told(seen, await again.seen())
        found = await stored(stores, len(expected))
    assert {row["event_id"]: row["name"] for row in found} == expected
    assert len({row["seq"] for row in found}) == len(found)
    assert {row["name"] for row in found if row["kind"] == "standard"} == STANDARD
    assert {row["name"] for row in found if row["kind"] == "custom"} >= CUSTOM
    assert len({row["client_id"] for row in found}) == 1
    assert {row["version"] for row in found} == {"1.0.0"}
    odd = {mark for row in found for mark in names(row["marks"])}
    assert odd <= {"cleaned"}  # the markup in the title of a product of the sandbox, and nothing else is odd
    [completed] = [row for row in found if row["name"] == "checkout_completed"]
    checkout = orjson.loads(completed["content"])["data"]["checkout"]
    assert checkout["order"]["id"]
    assert checkout["totalPrice"]["amount"] > checkout["subtotalPrice"]["amount"] > 0


async def test_one_switches_the_pixel_on_and_watches_rows_arrive_until_the_app_goes(
    browser: Browser, database: str, tmp_path: Path
) -> None:
    async with active_pixel(browser, database, tmp_path) as (stores, _, page):
        shopper = Shopper(page, front(stores))
        await shopper.agree()
        await page.wait_for_selector('#events [data-state="row"]')
        assert "rows of this visitor" in (await page.text_content("#rows") or "")
        await uninstall(page, stores)
        await shopper.visit()
        assert "not active here" in (await page.text_content("#panel .hint") or "")
