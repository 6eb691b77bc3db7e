"""The pages of the sandbox store: what a merchant sees of Shopify around an app."""

from collections.abc import Sequence

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from yarl import URL

from libs.common.shopify import csp
from services.sandbox.stage import Stage

_TEMPLATES = Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined)


def stores(stage: Stage, shops: Sequence[str], installed: set[str]) -> web.Response:
    """All stores that the sandbox shows."""
    rows = [{"shop": shop, "admin": stage.admin(shop), "installed": shop in installed} for shop in shops]
    return _page("stores.html", home=stage.url, stores=rows)


def admin(stage: Stage, shop: str, *, scopes: str | None) -> web.Response:
    """A store's admin; `scopes` is None where the app is not installed."""
    return _page(
        "admin.html",
        home=stage.url,
        shop=shop,
        installed=scopes is not None,
        scopes=scopes,
        launch=stage.launch(shop),
        framed_app=stage.framed_app(shop),
    )


def consent(stage: Stage, shop: str, scopes: Sequence[str]) -> web.Response:
    """Asks the merchant; the answer is posted to the same address."""
    return _page("consent.html", home=stage.url, shop=shop, scopes=scopes, admin=stage.admin(shop))


def frame(stage: Stage, shop: str) -> web.Response:
    """The app inside the admin, which gives it session tokens."""
    return _page(
        "frame.html",
        home=stage.url,
        shop=shop,
        admin=stage.admin(shop),
        app_page=stage.app_page(shop),
        app_origin=str(URL(stage.app_url).origin()),
        token_address=f"{stage.framed_app(shop)}/session_token",
    )


def _page(template: str, **values: object) -> web.Response:
    text = _TEMPLATES.get_template(template).render(values)
    headers = {**csp.NOT_FRAMED, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    return web.Response(text=text, content_type="text/html", headers=headers)
