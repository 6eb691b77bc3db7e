"""What a merchant does in the browser."""

from playwright.async_api import Frame, Page

from tests.e2e.stores import Stores

SHOP = "sandbox-001.myshopify.com"


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
