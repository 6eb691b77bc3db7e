"""The webhooks service as a process that compares, and may kill itself at a point of it."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from libs.common.service import main, serve
from services.webhooks import app
from services.webhooks.config import Settings
from tests.integration.mortal import child, chosen_faults
from tests.integration.reconcile_kit import SwiftSettings


def process(
    folder: Path, environment: Mapping[str, str], point: str = ""
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """A process that is killed when it reaches this point, or at the end of the block."""
    log = folder / "reconciler.log"
    return child("tests.integration.reconcile_process", environment, log, dies_at=point)


async def _serve(settings: Settings) -> None:
    async with app.open_service(settings, faults=chosen_faults()) as service:
        await serve([service], settings)


if __name__ == "__main__":
    main("webhooks", SwiftSettings, _serve)
