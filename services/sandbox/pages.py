"""The pages of the sandbox store: what a merchant sees of Shopify around an app."""

from collections.abc import Sequence

from aiohttp import web
from yarl import URL

from services.sandbox.overview import Overview
from services.sandbox.rendering import page
from services.sandbox.stage import Stage


def stores(stage: Stage, shops: Sequence[str], installed: set[str]) -> web.Response:
    """All stores that the sandbox shows."""
    rows = [{"shop": shop, "admin": stage.admin(shop), "installed": shop in installed} for shop in shops]
    return page("stores.html", home=stage.url, stores=rows)


def admin(stage: Stage, shop: str, *, scopes: str | None, overview: Overview) -> web.Response:
    """A store's admin; `scopes` is None where the app is not installed."""
    return page(
        "admin.html",
        home=stage.url,
        shop=shop,
        installed=scopes is not None,
        scopes=scopes,
        launch=stage.launch(shop),
        here=stage.admin(shop),
        overview=overview,
        framed_app=stage.framed_app(shop),
    )


def consent(stage: Stage, shop: str, scopes: Sequence[str]) -> web.Response:
    """Asks the merchant; the answer is posted to the same address."""
    return page("consent.html", home=stage.url, shop=shop, scopes=scopes, admin=stage.admin(shop))


def frame(stage: Stage, shop: str) -> web.Response:
    """The app inside the admin, which gives it session tokens."""
    return page(
        "frame.html",
        home=stage.url,
        shop=shop,
        admin=stage.admin(shop),
        app_page=stage.app_page(shop),
        app_origin=str(URL(stage.app_url).origin()),
        token_address=f"{stage.framed_app(shop)}/session_token",
    )
