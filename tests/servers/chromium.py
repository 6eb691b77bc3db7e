"""Chromium for tests that look at pages."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.servers.apt import install, may_install

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A root user has no sandbox, and a test's browser has nothing to say to anybody but the page under test.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def installed_chromium() -> Path | None:
    """Chromium or Chrome of this computer."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def install_with_apt() -> Path | None:
    """Installs Chromium from the distribution where we may; returns where it is."""
    if may_install():
        install("chromium", there=lambda: installed_chromium() is not None)
    return installed_chromium()


@asynccontextmanager
async def open_browser(program: Path) -> AsyncIterator[Browser]:
    """A browser without a window and without a past."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
