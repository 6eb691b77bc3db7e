"""A merchant installs the app in a browser, uses it, removes it, and installs it again."""

from pathlib import Path

from playwright.async_api import Browser, Frame, Page

from tests.e2e.stores import Stores, open_stores
from tests.waiting import poll

SHOP = "sandbox-001.myshopify.com"
ALIVE = "SELECT uninstalled_at IS NULL FROM auth.shops WHERE shop = $1"


async def install(page: Page, stores: Stores) -> Frame:
    """From the store's admin to the app's page, with the two clicks that a merchant makes."""
    await page.goto(stores.admin(SHOP))
    await page.click("#install")
    assert (await page.text_content("code")) is not None
    await page.click("#consent")
    await page.wait_for_url(stores.framed(SHOP))
    return await greeted(page)


async def greeted(page: Page) -> Frame:
    """The app's page in its frame, once it has the access that it asks for."""
    held = await page.wait_for_selector("iframe")
    frame = await held.content_frame() if held else None
    assert frame is not None
    await frame.wait_for_selector('body[data-access="granted"]')
    assert await frame.text_content("h1") == f"Hello, {SHOP}"
    return frame


async def uninstall(page: Page, stores: Stores) -> None:
    await page.goto(stores.admin(SHOP))
    await page.click("#uninstall")
    await page.wait_for_selector("#install")


async def alive(stores: Stores) -> bool:
    """Whether the app is installed, as auth sees it."""
    found: bool = await stores.pool.fetchval(ALIVE, SHOP)
    return found


async def ended(stores: Stores) -> bool:
    return not await alive(stores)


async def test_install_use_uninstall_reinstall(browser: Browser, database: str, tmp_path: Path) -> None:
    async with open_stores(database, tmp_path) as stores:
        page = await browser.new_page()
        frame = await install(page, stores)
        assert "read_orders,write_products" in (await frame.text_content("#access") or "")
        assert await alive(stores)
        await uninstall(page, stores)
        await poll(lambda: ended(stores))
        await install(page, stores)
        assert await alive(stores)
        assert await stores.pool.fetchval("SELECT generation FROM auth.shops") == 2


async def test_a_page_without_its_token_fetches_a_new_one(
    browser: Browser, database: str, tmp_path: Path
) -> None:
    """The address in the frame holds a token of a minute; without it the page goes through the bounce page."""
    async with open_stores(database, tmp_path) as stores:
        page = await browser.new_page()
        await install(page, stores)
        seen: list[str] = []
        page.on("framenavigated", lambda frame: seen.append(frame.url))
        await page.evaluate(f"document.querySelector('iframe').src = '/auth/app?shop={SHOP}&late=1'")
        await poll(lambda: any("late=1" in url and "id_token=" in url for url in seen))
        frame = await greeted(page)
        assert "late=1" in frame.url
        assert [url for url in seen if "/auth/bounce" in url]
