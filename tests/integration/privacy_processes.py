"""The webhooks service as a process that kills itself at a point of an erasure."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.common.outbox.faults import FaultPoints, Hook
from libs.common.service import main, serve
from services.webhooks import app
from services.webhooks.config import Settings
from tests.integration.auth_kit import OPS, SERVICE_KEY
from tests.integration.shopify_stand_in import SECRET
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
DIES_AT = "TEST_DIES_AT"


@asynccontextmanager
async def dying(database: str, folder: Path, point: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed when it reaches this point, or at the end of the block."""
    env = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": database, "PORT": str(free_port()),
        "SHOPIFY_API_SECRET": SECRET, "SERVICE_KEY": SERVICE_KEY, "OPS_TOKEN": OPS, DIES_AT: point,
    }  # fmt: skip
    with (folder / "webhooks.log").open("wb") as out:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.privacy_processes"),
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
    hooks: dict[Any, Hook] = {os.environ[DIES_AT]: _die}
    async with app.open_service(settings, faults=FaultPoints(hooks), grace=0.1) as service:
        await serve([service], settings)


if __name__ == "__main__":
    main("webhooks", Settings, _serve)
