"""Puts the sandbox store together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

from libs.common.clock import SystemClock
from libs.common.service import Service
from libs.common.shopify.access_tokens import AppCredentials
from services.sandbox.admin_api.buckets import Buckets
from services.sandbox.admin_api.bulk import Workshop
from services.sandbox.admin_api.desk import Desk
from services.sandbox.config import Settings
from services.sandbox.deliveries import Signer
from services.sandbox.grants import Grants
from services.sandbox.happenings import Happenings
from services.sandbox.ledger import Ledger
from services.sandbox.news import open_news
from services.sandbox.routes import Endpoints
from services.sandbox.routes_admin_api import AdminApi
from services.sandbox.routes_store import StoreRoutes
from services.sandbox.routes_storefront import StorefrontEndpoints
from services.sandbox.sender import Patience
from services.sandbox.setup import Setup
from services.sandbox.stage import WEBHOOKS, Stage
from services.sandbox.stock import Stock
from services.sandbox.store import Shelves
from services.sandbox.storefront import Storefront
from services.sandbox.storefront_pages import StorefrontPages
from services.sandbox.weather import Weather

NAME = "sandbox"
FILE, SHELVES, BULK = "sandbox.json", "sandbox.sqlite", "sandbox-bulk"


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    weather: Weather | None = None,
    patience: Patience | None = None,
    setup: Setup | None = None,
) -> AsyncIterator[Service]:
    """Opens the stores as they were left, in the state folder."""
    setup = setup or Setup()
    clock, secret = SystemClock(), settings.shopify_api_secret.get_secret_value()
    app = AppCredentials(settings.shopify_api_key, secret)
    grants = Grants(app, Ledger.open(settings.state_dir / FILE), clock)
    stage = Stage(app, settings.public_url, settings.store_url, clock)
    signer = Signer(secret.encode(), settings.shopify_api_version)
    async with AsyncExitStack() as opened:
        shelves = opened.enter_context(closing(Shelves(settings.state_dir / SHELVES)))
        stock = Stock(shelves, clock, setup.sizes)
        webhooks = f"{settings.public_url}{WEBHOOKS}"
        news = await opened.enter_async_context(
            open_news(webhooks, signer, grants.ledger, clock, patience, setup.losses)
        )
        workshop = Workshop(
            grants.ledger,
            clock,
            news,
            settings.state_dir / BULK,
            lambda shop, scopes: Desk(stage, stock, shop, scopes),
            setup.bulk_weather,
        )
        opened.push_async_callback(workshop.close)
        workshop.resume()
        buckets = Buckets(clock, setup.rate, setup.rates)
        happenings = Happenings(stock, news)
        store = StoreRoutes(stage, grants, happenings, buckets)
        api = AdminApi(
            stage, grants, stock, buckets, workshop, settings.shopify_api_version, setup.api_weather,
            setup.api_weathers,
        )  # fmt: skip
        pages = Endpoints(stage, grants, news, weather or Weather(), store.overview)
        front = StorefrontEndpoints(StorefrontPages(stage, grants.ledger, Storefront(stock)))
        yield Service(NAME, [*pages.routes(), *api.routes(), *store.routes(), *front.routes()])
