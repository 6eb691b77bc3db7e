"""The browser of the end-to-end tests."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.servers.chromium import install_with_apt, installed_chromium, open_browser


def pytest_collection_finish(session: pytest.Session) -> None:
    """Installs Chromium where it is missing, before the first test: a test's own time limit is too short for that."""
    functions = [item for item in session.items if isinstance(item, pytest.Function)]
    wanted = any("browser" in function.fixturenames for function in functions)
    if wanted and not session.config.option.collectonly and installed_chromium() is None:
        install_with_apt()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium; skips where there is none and we may not install it."""
    program = installed_chromium()
    if program is None:
        pytest.skip("there is no Chromium here, and only root can install it")
    async with open_browser(program) as opened:
        yield opened
