"""Puts the sandbox store together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.clock import SystemClock
from libs.common.service import Service
from libs.common.shopify.access_tokens import AppCredentials
from services.sandbox.config import Settings
from services.sandbox.deliveries import Signer
from services.sandbox.grants import Grants
from services.sandbox.ledger import Ledger
from services.sandbox.news import open_news
from services.sandbox.routes import Endpoints
from services.sandbox.sender import Patience
from services.sandbox.stage import WEBHOOKS, Stage
from services.sandbox.weather import Weather

NAME = "sandbox"
FILE = "sandbox.json"


@asynccontextmanager
async def open_service(
    settings: Settings, *, weather: Weather | None = None, patience: Patience | None = None
) -> AsyncIterator[Service]:
    """Opens the stores as they were left, in the state folder."""
    clock, secret = SystemClock(), settings.shopify_api_secret.get_secret_value()
    app = AppCredentials(settings.shopify_api_key, secret)
    grants = Grants(app, Ledger.open(settings.state_dir / FILE), clock)
    stage = Stage(app, settings.public_url, settings.store_url, clock)
    signer = Signer(secret.encode(), settings.shopify_api_version)
    async with open_news(f"{settings.public_url}{WEBHOOKS}", signer, clock, patience) as news:
        yield Service(NAME, Endpoints(stage, grants, news, weather or Weather()).routes())
