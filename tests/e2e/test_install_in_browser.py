"""A merchant installs the app in a browser, uses it, removes it, and installs it again."""

from pathlib import Path

from playwright.async_api import Browser

from services.sandbox.stage import host_of
from tests.e2e.shopping import SHOP, greeted, install, uninstall
from tests.e2e.stores import Stores, open_stores
from tests.e2e.test_cli_run import Machine, interrupt
from tests.waiting import poll

ALIVE = "SELECT uninstalled_at IS NULL FROM auth.shops WHERE shop = $1"


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


async def test_a_bookmark_of_the_apps_own_address_leads_into_the_admin(
    browser: Browser, database: str, tmp_path: Path
) -> None:
    async with open_stores(database, tmp_path) as stores:
        page = await browser.new_page()
        await install(page, stores)
        await page.goto(f"{stores.url}/auth/app?shop={SHOP}&host={host_of(SHOP)}")
        await page.wait_for_url(stores.framed(SHOP))
        await greeted(page)


async def test_a_newcomer_installs_the_app_after_make_run(browser: Browser, tmp_path: Path) -> None:
    """Nothing is set up here: one command, the address that it prints, and three clicks."""
    machine = Machine(tmp_path)
    with machine.running() as process:
        await machine.ready(process)
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{machine.port}/sandbox")
        await page.click(f"text={SHOP}")
        await page.click("#install")
        await page.click("#consent")
        await greeted(page)
        printed, errors = interrupt(process)
    assert f"open http://127.0.0.1:{machine.port}/sandbox in a browser" in printed
    assert (process.returncode, errors) == (0, "")
