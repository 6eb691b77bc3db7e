"""The services and the sandbox store in this process, behind one port, as `shopbus run` has them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from aiohttp import ClientSession

from libs.common.service import Service
from libs.common.settings import CommonSettings
from services.auth.app import open_service as open_auth
from services.auth.config import Settings as AuthSettings
from services.ingest.app import open_service as open_ingest
from services.ingest.config import Settings as IngestSettings
from services.sandbox.app import FILE
from services.sandbox.app import open_service as open_sandbox
from services.sandbox.config import Settings as SandboxSettings
from services.sandbox.weather import Weather
from services.webhooks.app import open_service as open_webhooks
from services.webhooks.config import Settings as WebhooksSettings
from services.worker.app import open_service as open_worker
from services.worker.config import Settings as WorkerSettings
from tests.environment import S
from tests.servers.ports import free_port
from tests.serving import serving
from tests.session_tokens import CLIENT_ID, SECRET

TOKEN_KEY, SERVICE_KEY, OPS_TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "k" * 64, "e2e-ops"
KEYS = {SECRET, TOKEN_KEY, SERVICE_KEY, OPS_TOKEN}


@dataclass(frozen=True, slots=True)
class Stores:
    """The running app with its stores, as browsers and tests see them."""

    url: str
    client: ClientSession
    pool: asyncpg.Pool
    settings: dict[str, object]
    file: Path  # where the sandbox's stores are kept

    def admin(self, shop: str) -> str:
        return f"{self.url}/sandbox/{shop}/admin"

    def framed(self, shop: str) -> str:
        return f"{self.admin(shop)}/apps/{CLIENT_ID}"


@asynccontextmanager
async def open_stores(
    database: str,
    folder: Path,
    weather: Weather | None = None,
    *,
    scopes: str = "write_products,read_orders",
    whole: bool = False,
) -> AsyncIterator[Stores]:
    """Everything that an install needs, until the block is left; the `whole` app has ingest and the worker too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    shared: dict[str, object] = {
        "database_url": database, "port": port, "state_dir": folder, "app_url": url, "ops_token": OPS_TOKEN,
        "sandbox_store_url": f"{url}/sandbox", "shopify_api_key": CLIENT_ID, "shopify_api_secret": SECRET,
        "shopify_scopes": scopes, "shutdown_seconds": 5.0, "auth_url": url,
        "token_keys": TOKEN_KEY, "service_key": SERVICE_KEY,
    }  # fmt: skip
    rest = () if not whole else (_ingest(shared), _worker(shared))
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(opening)
            for opening in (
                open_webhooks(_settings(WebhooksSettings, shared)),
                open_auth(_settings(AuthSettings, shared)),
                open_sandbox(_settings(SandboxSettings, shared), weather=weather),
                *rest,
            )
        ]
        client = await stack.enter_async_context(
            serving(services, _settings(CommonSettings, shared), port=port)
        )
        pool = await stack.enter_async_context(asyncpg.create_pool(database, min_size=1, max_size=2))
        yield Stores(url, client, pool, shared, folder / FILE)


def _ingest(shared: dict[str, object]) -> AbstractAsyncContextManager[Service]:
    return open_ingest(_settings(IngestSettings, shared))


def _worker(shared: dict[str, object]) -> AbstractAsyncContextManager[Service]:
    return open_worker(_settings(WorkerSettings, shared))


def _settings(kind: type[S], values: dict[str, object]) -> S:
    return kind.load(**{name: value for name, value in values.items() if name in kind.model_fields})
