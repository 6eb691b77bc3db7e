"""A worker process in a hurry with its backfills, for tests that kill it."""

from libs.common.service import main, serve
from services.worker.app import open_service
from services.worker.backfill_steps import Pace
from services.worker.config import Settings
from tests.integration.mortal import chosen_faults

HURRY = Pace(
    lease=3.0, idle=0.05, first_look=0.2, last_look=1.0, settled=2.0, busy=0.3, behind=0.5, restart=0.1,
    first_retry=0.1,
)  # fmt: skip


async def _serve(settings: Settings) -> None:
    async with open_service(settings, faults=chosen_faults(), pace=HURRY) as service:
        await serve([service], settings)


if __name__ == "__main__":
    main("worker", Settings, _serve)
