"""What a whole run wrote and sent, looked through for secrets."""

import json
import re
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.e2e.shopping import SHOP, greeted, install, uninstall
from tests.e2e.stores import KEYS, Stores, open_stores
from tests.log_capture import logged
from tests.waiting import poll

SESSION_TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]+")
ASK_ONLINE = """
fetch("/auth/token", {method: "POST", body: JSON.stringify({online: true})}).then(answer => answer.status)
"""
CODE_OR_STATE = re.compile(r"\b[0-9a-f]{64}\b")


def tokens_given(folder: Path) -> set[str]:
    """Every access and refresh token that the sandbox's stores gave out and still know."""
    stores = json.loads((folder / "sandbox.json").read_text())
    pairs = [pair for store in stores.values() for pair in (store["current"], store["previous"]) if pair]
    return {token for store in stores.values() for token in store["access"]} | {
        pair["refresh_token"] for pair in pairs
    }


async def use_everything(page: Page, stores: Stores) -> None:
    """Every route that has to do with tokens, as those who may use it and as others."""
    await install(page, stores)
    await page.goto(stores.framed(SHOP))
    frame = await greeted(page)
    assert await frame.evaluate(ASK_ONLINE) == 200
    for headers in ({}, {"Authorization": "Bearer e2e-ops"}, {"Authorization": "Bearer x"}):
        for address in ("/auth/sessions", "/auth/session", f"/internal/auth/shops/{SHOP}/token"):
            await (await stores.client.get(address, headers=headers)).read()
    await (await stores.client.get("/auth/callback?shop=x&hmac=y&code=z&state=q")).read()


async def test_no_secret_is_logged_counted_or_put_into_an_address(
    browser: Browser, database: str, tmp_path: Path
) -> None:
    addresses: list[str] = []
    with logged("DEBUG") as written:
        async with open_stores(database, tmp_path) as stores:
            page = await browser.new_page()
            page.on("request", lambda request: addresses.append(request.url))
            await use_everything(page, stores)
            tokens = tokens_given(tmp_path)
            metrics = await (await stores.client.get("/metrics")).text()
            await uninstall(page, stores)
            await poll(lambda: "app/uninstalled" in written.text)
    assert {token[:5] for token in tokens} == {"shpat", "shprt", "shpua"}
    shown = {"the log": written.text, "metrics": metrics, "addresses": "\n".join(addresses)}
    for where, text in shown.items():
        assert [secret for secret in tokens | KEYS if secret in text] == [], where
    assert SHOP in shown["the log"]
    assert SHOP not in shown["metrics"]
    for pattern in (SESSION_TOKEN, CODE_OR_STATE):
        assert pattern.search(shown["addresses"]), "by Shopify's design; else nothing was looked through"
        assert pattern.findall(shown["the log"]) == []
        assert pattern.findall(shown["metrics"]) == []
