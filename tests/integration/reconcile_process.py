"""The webhooks service as a process that compares, and may kill itself at a point of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.common.outbox.faults import FaultPoints, Hook
from libs.common.service import main, serve
from services.webhooks import app
from services.webhooks.config import Settings
from tests.integration.reconcile_kit import SwiftSettings

ROOT = Path(__file__).parents[2]
DIES_AT = "TEST_DIES_AT"


@asynccontextmanager
async def process(
    folder: Path, environment: Mapping[str, str], point: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed when it reaches this point, or at the end of the block."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), DIES_AT: point, **environment}
    with (folder / "reconciler.log").open("ab") as out:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.reconcile_process"),
            env=env,
            stdout=out,
            stderr=out,
            cwd=folder,
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _serve(settings: Settings) -> None:
    point = os.environ[DIES_AT]
    hooks: dict[Any, Hook] = {point: _die} if point else {}
    async with app.open_service(settings, faults=FaultPoints(hooks)) as service:
        await serve([service], settings)


if __name__ == "__main__":
    main("webhooks", SwiftSettings, _serve)
