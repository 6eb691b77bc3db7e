"""The webhooks service as a process that kills itself at a point of an erasure."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from libs.common.service import main, serve
from services.webhooks import app
from services.webhooks.config import Settings
from tests.integration.auth_kit import OPS, SERVICE_KEY
from tests.integration.mortal import child, chosen_faults
from tests.integration.shopify_stand_in import SECRET
from tests.servers.ports import free_port


def dying(database: str, folder: Path, point: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """A process that is killed when it reaches this point, or at the end of the block."""
    environment = {
        "DATABASE_URL": database, "PORT": str(free_port()), "SHOPIFY_API_SECRET": SECRET, "SERVICE_KEY": SERVICE_KEY,
        "OPS_TOKEN": OPS,
    }  # fmt: skip
    return child("tests.integration.privacy_processes", environment, folder / "webhooks.log", dies_at=point)


async def _serve(settings: Settings) -> None:
    async with app.open_service(settings, faults=chosen_faults(), grace=0.1) as service:
        await serve([service], settings)


if __name__ == "__main__":
    main("webhooks", Settings, _serve)
