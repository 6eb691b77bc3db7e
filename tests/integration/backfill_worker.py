"""A worker process in a hurry with its backfills, for tests that kill it."""

import os
import signal
from typing import Any

from libs.common.outbox.faults import FaultPoints, Hook
from libs.common.service import main, serve
from services.worker.app import open_service
from services.worker.backfill_steps import Pace
from services.worker.config import Settings

DIES_AT = "TEST_DIES_AT"
HURRY = Pace(
    lease=3.0, idle=0.05, first_look=0.2, last_look=1.0, settled=2.0, busy=0.3, behind=0.5, restart=0.1,
    first_retry=0.1,
)  # fmt: skip


async def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _serve(settings: Settings) -> None:
    point = os.environ.get(DIES_AT)
    hooks: dict[Any, Hook] = {point: _die} if point else {}
    async with open_service(settings, faults=FaultPoints(hooks), pace=HURRY) as service:
        await serve([service], settings)


if __name__ == "__main__":
    main("worker", Settings, _serve)
