"""The app's pixel in a browser, in a worker as Shopify gives it, against a server that keeps the app's promises."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser, BrowserContext

from tests.e2e.collector import Collector, collecting
from tests.e2e.shopper import CUSTOM, STANDARD, Shopper, enter
from tests.e2e.shopping import SHOP
from tests.e2e.storefronts import KEY, open_storefront
from tests.waiting import poll

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEEPALIVE_BYTES = 64 * 1024


@asynccontextmanager
async def shopping(
    browser: Browser, folder: Path
) -> AsyncIterator[tuple[Collector, BrowserContext, Shopper]]:
    """A collector, a browser without a past, and its first tab, where the shopper has agreed."""
    async with collecting() as collector, open_storefront(folder, collector.url) as root:
        context = await browser.new_context()
        shopper = await enter(context, root)
        await shopper.agree()
        yield collector, context, shopper
        await context.close()


async def arrived(collector: Collector, count: int, within: float = 30) -> None:
    """Waits for a shopper's first `count` events, and no others: their numbers begin at 1 and leave nothing out."""
    with suppress(AssertionError):
        await poll(lambda: len(collector.events) == count, within)
    assert sorted(event["seq"] for event in collector.events.values()) == list(range(1, count + 1))


async def test_every_event_of_a_visit_arrives(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        await shopper.shop()
        seen = await shopper.seen()
        await arrived(collector, len(seen))
        assert {event["id"]: event["name"] for event in seen} == {
            key: event["name"] for key, event in collector.events.items()
        }
        assert {event["name"] for event in seen} == STANDARD | CUSTOM
        assert len({event["clientId"] for event in collector.events.values()}) == 1
        await poll(lambda: nothing_kept(shopper))


async def nothing_kept(shopper: Shopper) -> bool:
    return await shopper.kept() == 0


async def test_requests_are_what_the_app_and_browsers_ask_for(
    shared_browser: Browser, tmp_path: Path
) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        await shopper.look_around()
        await arrived(collector, 11)
        assert collector.preflights == 0
        for headers, body in collector.requests:
            assert headers["Content-Type"] == "text/plain;charset=UTF-8"
            assert headers["Origin"] != collector.url
            assert "Cookie" not in headers
            batch = orjson.loads(body)
            assert (batch["key"], set(batch)) == (KEY, {"key", "version", "events"})
        [search] = [event for event in collector.events.values() if event["name"] == "search_submitted"]
        assert search["context"]["window"]["location"]["href"] == f"https://{SHOP}/search?q=wool"
        assert b"customer_token" not in b"".join(body for _, body in collector.requests)


async def test_a_storm_of_reloads_loses_nothing(shared_browser: Browser, tmp_path: Path) -> None:
    """Most pages end before their moment of gathering does; the next ones send what they left."""
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        for _ in range(10):
            await shopper.page.reload(wait_until="commit")
            await shopper.taken()
        await arrived(collector, 11)
        await poll(lambda: nothing_kept(shopper))


async def test_what_happens_offline_arrives_later(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, context, shopper):
        await shopper.follow(".card", "**/products/*")
        await arrived(collector, 3)
        await context.set_offline(offline=True)
        for _ in range(12):
            await shopper.page.click("#add")
        await shopper.page.wait_for_selector('#events [data-state="no answer"]')
        await shopper.taken()
        assert await shopper.kept() == 12
        assert len(collector.events) == 3
        await context.set_offline(offline=False)
        await arrived(collector, 15)


async def test_a_tab_that_was_closed_offline_leaves_its_events_to_the_next_visit(
    shared_browser: Browser, tmp_path: Path
) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, context, shopper):
        await arrived(collector, 1)
        await context.set_offline(offline=True)
        await shopper.publish(5)
        await shopper.taken()
        await shopper.page.close()
        await context.set_offline(offline=False)
        await (await enter(context, shopper.root)).visit()
        await arrived(collector, 7)


async def test_a_request_outlives_its_tab(shared_browser: Browser, tmp_path: Path) -> None:
    """The app has the events, the tab never learns of it, and the next visit does no harm."""
    async with shopping(shared_browser, tmp_path) as (collector, context, shopper):
        await arrived(collector, 1)
        await poll(lambda: nothing_kept(shopper))
        collector.open.clear()
        await shopper.publish(5)
        await shopper.page.wait_for_selector("#events [data-state=sending]")
        await shopper.page.close()
        await arrived(collector, 6)
        collector.open.set()
        again = await enter(context, shopper.root)
        await again.visit()
        await arrived(collector, 7)
        await poll(lambda: nothing_kept(again))


async def test_a_tab_that_closes_at_once_after_a_purchase_has_sent_it(
    shared_browser: Browser, tmp_path: Path
) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        await shopper.follow(".card", "**/products/*")
        await shopper.page.click("#add")
        await shopper.follow("#cart", "**/cart")
        await shopper.buy()
        await shopper.taken()
        await shopper.page.close()
        await poll(lambda: "checkout_completed" in {event["name"] for event in collector.events.values()})


async def test_what_the_app_cannot_take_is_sent_again(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        await arrived(collector, 1)
        collector.refusals = [503, 429, 500]
        collector.untold = 1
        await shopper.publish(5)
        await arrived(collector, 6)
        await poll(lambda: nothing_kept(shopper), within=20)
        twice = Counter(event["id"] for event in collector.arrivals)
        assert sorted(twice.values()) == [1, 2, 2, 2, 2, 2]
        assert collector.refusals == []


async def test_what_the_app_refuses_is_given_up(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        await arrived(collector, 1)
        collector.refusals = [400]
        await shopper.publish(1)
        await shopper.page.wait_for_selector('#events [data-state="answered 400"]')
        await poll(lambda: nothing_kept(shopper))
        await shopper.publish(1)
        await poll(lambda: {1, 3} == {event["seq"] for event in collector.events.values()})


async def test_many_events_at_once_stay_within_what_browsers_keep_alive(
    shared_browser: Browser, tmp_path: Path
) -> None:
    """A browser refuses keepalive requests beyond 64 KiB in flight; none is refused here."""
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        failed: list[str] = []
        shopper.page.on("requestfailed", lambda request: failed.append(request.url))
        await shopper.publish(100, characters=3000)
        await arrived(collector, 101)
        assert failed == []
        assert max(len(body) for _, body in collector.requests) <= KEEPALIVE_BYTES


async def test_a_huge_cart_is_trimmed(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, _, shopper):
        await shopper.follow(".card", "**/products/*")
        await shopper.page.click("#add")
        key = f"sandbox.{SHOP}.cart"
        await shopper.page.evaluate(
            """(key) => { const cart = JSON.parse(localStorage.getItem(key));
            const [line] = cart.lines;
            cart.lines = Array.from({length: 400}, (_, id) =>
                ({...line, merchandise: {...line.merchandise, id: String(id)}}));
            localStorage.setItem(key, JSON.stringify(cart)); }""",
            key,
        )
        await shopper.follow("#cart", "**/cart")
        await arrived(collector, 6)
        [viewed] = [event for event in collector.events.values() if event["name"] == "cart_viewed"]
        assert viewed["trimmed"] == {"data.cart.lines": 400}
        assert viewed["data"]["cart"]["totalQuantity"] == 400
        assert 10 < len(viewed["data"]["cart"]["lines"]) < 400


async def test_before_consent_nothing_is_sent_and_afterwards_what_was_seen_is(
    shared_browser: Browser, tmp_path: Path
) -> None:
    async with collecting() as collector, open_storefront(tmp_path, collector.url) as root:
        shopper = await enter(await shared_browser.new_context(), root)
        await shopper.visit("/products/" + await a_product(shopper))
        await shopper.page.click("#add")
        assert [event["state"] for event in await shopper.seen()][1:] == ["held"] * 3
        assert (shopper.page.workers, collector.requests) == ([], [])
        await shopper.decide("accepted")
        await poll(lambda: {2, 3, 4} == {event["seq"] for event in collector.events.values()})


async def a_product(shopper: Shopper) -> str:
    """The name in the address of some product."""
    await shopper.visit()
    return ((await shopper.page.get_attribute(".card", "href")) or "").rpartition("/")[2]


async def test_who_declines_is_never_seen(shared_browser: Browser, tmp_path: Path) -> None:
    async with collecting() as collector, open_storefront(tmp_path, collector.url) as root:
        shopper = await enter(await shared_browser.new_context(), root)
        await shopper.visit()
        await shopper.decide("declined")
        await shopper.look_around()
        assert {event["state"] for event in await shopper.seen()} == {"declined"}
        assert (shopper.page.workers, await shopper.kept()) == ([], 0)
        await shopper.decide("accepted")
        await shopper.publish(1)
        await poll(lambda: [event["name"] for event in collector.events.values()] == ["made_up"])


async def test_consent_that_is_taken_back_ends_it(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (collector, context, shopper):
        await arrived(collector, 1)
        await poll(lambda: nothing_kept(shopper))
        await context.set_offline(offline=True)
        await shopper.publish(5)
        await shopper.taken()
        assert await shopper.kept() == 5
        await shopper.decide("declined")
        await poll(lambda: nothing_kept(shopper))
        await context.set_offline(offline=False)
        await shopper.publish(5)
        await shopper.visit()
        await shopper.decide("accepted")
        await shopper.publish(1)
        await poll(lambda: len(collector.events) == 2)
        assert {event["name"] for event in collector.events.values()} == {"page_viewed", "made_up"}


async def test_the_pixel_has_no_more_than_shopify_gives(shared_browser: Browser, tmp_path: Path) -> None:
    async with shopping(shared_browser, tmp_path) as (_, __, shopper):
        [worker] = shopper.page.workers
        names = [
            "window",
            "document",
            "localStorage",
            "importScripts",
            "XMLHttpRequest",
            "WebSocket",
            "indexedDB",
        ]
        absent = await worker.evaluate(
            "(names) => names.filter((name) => globalThis[name] === undefined)", names
        )
        assert absent == names


async def test_without_a_pixel_the_page_says_so(shared_browser: Browser, tmp_path: Path) -> None:
    async with open_storefront(tmp_path, None) as root:
        shopper = await enter(await shared_browser.new_context(), root)
        await shopper.visit()
        assert "not active here" in (await shopper.page.text_content("#panel .hint") or "")
        await shopper.decide("accepted")
        await shopper.publish(1)
        assert {event["state"] for event in await shopper.seen()} == {"no pixel"}
        assert shopper.page.workers == []
