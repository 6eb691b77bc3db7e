"""A world for each test, and the table at the end."""

import os
import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from tests.chaos import report
from tests.chaos.process import Build
from tests.chaos.world import World, open_world
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode

SEED = int(os.environ.get("SEED") or secrets.randbelow(2**32))


class OpenWorld(Protocol):
    """What the fixture `chaos` gives: `async with chaos() as world`."""

    def __call__(
        self, *, workers: int = 2, build: Mapping[str, Build] | None = None
    ) -> AbstractAsyncContextManager[World]:
        """Starts everything; ends it at the end of the block."""


@pytest.fixture
def chaos(
    database: str,
    rabbit: RabbitNode,
    postgres: PostgresServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> OpenWorld:
    """Opens a world, whose random choices depend on SEED and on the test's name alone."""
    seed = f"{SEED} {request.node.name}"
    return partial(open_world, tmp_path, postgres=postgres, rabbit=rabbit, database=database, seed=seed)


def pytest_report_header() -> str:
    return f"chaos: SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report.ROWS:
        terminalreporter.section(f"chaos, SEED={SEED}")
        terminalreporter.write(report.printed(report.ROWS))
    if report.WANTED and (settled := [row for row in report.ROWS if row.settled]):
        report.write(report.PAGE, settled, seed=SEED)
