"""A store whose front has the app's pixel on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.sandbox.app import FILE, open_service
from services.sandbox.config import Settings
from services.sandbox.ledger import Ledger, WebPixel
from tests.e2e.shopping import SHOP
from tests.servers.ports import free_port
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, SECRET

KEY = "public-key"


@asynccontextmanager
async def open_storefront(folder: Path, endpoint: str | None) -> AsyncIterator[str]:
    """The address of a store's front, whose pixel sends to `endpoint`; without one, it has no pixel."""
    port = free_port()
    ledger = Ledger(folder / FILE)
    store = ledger.store(SHOP)
    store.installed = True
    store.web_pixel = None if endpoint is None else WebPixel("1", {"accountID": KEY, "endpoint": endpoint})
    ledger.save()
    settings = Settings.load(
        state_dir=folder, port=port, shopify_api_key=CLIENT_ID, shopify_api_secret=SECRET, shutdown_seconds=2.0,
        sandbox_store_url=f"http://localhost:{port}/sandbox",
    )  # fmt: skip
    async with open_service(settings) as service, serving([service], settings, port=port):
        yield f"{settings.store_url}/{SHOP}/store"
