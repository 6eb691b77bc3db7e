"""The browser of the end-to-end tests, and what runs the pixel's own tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.servers import node
from tests.servers.chromium import install_with_apt, installed_chromium, open_browser


def pytest_collection_finish(session: pytest.Session) -> None:
    """Installs programs that are missing, before the first test: a test's own time limit is too short for that."""
    if session.config.option.collectonly:
        return
    functions = [item for item in session.items if isinstance(item, pytest.Function)]
    wanted = {name for function in functions for name in function.fixturenames}
    if wanted & {"browser", "shared_browser"} and installed_chromium() is None:
        install_with_apt()
    if "node_program" in wanted and node.installed_node() is None:
        node.install_with_apt()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium; skips where there is none and we may not install it."""
    async with open_browser(_chromium()) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_browser() -> AsyncIterator[Browser]:
    """Chromium for a module whose tests each open a context of their own."""
    async with open_browser(_chromium()) as opened:
        yield opened


@pytest.fixture
def node_program() -> Path:
    """Node; skips where there is none and we may not install it."""
    program = node.installed_node()
    if program is None:
        pytest.skip("there is no Node 18 or newer here, and only root can install it")
    return program


def _chromium() -> Path:
    program = installed_chromium()
    if program is None:
        pytest.skip("there is no Chromium here, and only root can install it")
    return program
