"""A worker process that dies while it cancels work: `python -m tests.integration.sweeping_worker`; and its handlers."""

import asyncio
import os

from libs.common.outbox.faults import FaultPoints
from services.worker import sweep
from services.worker.app import open_service
from services.worker.config import Settings
from services.worker.sdk import Context, Message, on
from tests.integration.mortal import die
from tests.integration.protocol import registry
from tests.integration.shopify_stand_in import KEY, SECRET

NEEDING, KEEPING = "webhook.orders.create", "webhook.products.update"


@on(NEEDING, needs_install=True)
async def call_shopify(message: Message, ctx: Context) -> None:
    """As a handler does whose shop's tokens have ended."""
    raise ConnectionError("Shopify answered 401")


@on(KEEPING)
async def keep(message: Message, ctx: Context) -> None:
    """Needs nothing of Shopify."""


HANDLERS = registry(call_shopify, keep)


async def main() -> None:
    sweep.BATCH = 10
    settings = Settings.load(
        database_url=os.environ["TEST_DATABASE"], ops_token="x", service_key="k" * 64, shopify_api_key=KEY,
        shopify_api_secret=SECRET,
    )  # fmt: skip
    async with open_service(
        settings, registry=HANDLERS, faults=FaultPoints({"some cancelled, not all": die})
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
