"""Both services in this process behind one port, as `shopbus run` has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestServer

from libs.common.service import build_app
from services.webhooks.app import open_service as open_webhooks
from services.webhooks.config import Settings as WebhooksSettings
from services.worker.app import open_service as open_worker
from services.worker.config import Settings as WorkerSettings

SECRET = "e2e-secret"
OPS = {"Authorization": "Bearer e2e-ops"}


@asynccontextmanager
async def shopbus(database_url: str, rabbitmq_url: str | None) -> AsyncIterator[TestServer]:
    """A running shopbus; leaving it stops everything as a signal would."""
    shared = {
        "database_url": database_url,
        "rabbitmq_url": rabbitmq_url,
        "ops_token": "e2e-ops",
        "shopify_api_secret": SECRET,
        "service_key": "e2e" * 16,
        "shutdown_seconds": 5,
    }
    webhooks = WebhooksSettings.load(**shared)
    worker = WorkerSettings.load(handlers="tests.e2e.handlers", shopify_api_key="e2e-app", **shared)
    async with open_webhooks(webhooks) as front, open_worker(worker) as back:
        server = TestServer(build_app([front, back]))
        async with server:
            yield server
