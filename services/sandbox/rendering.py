"""Turns the sandbox's templates into pages."""

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from libs.common.shopify import csp

_TEMPLATES = Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined)


def page(template: str, **values: object) -> web.Response:
    """A page that no other page shows in a frame, and that no cache keeps."""
    text = _TEMPLATES.get_template(template).render(values)
    headers = {**csp.NOT_FRAMED, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    return web.Response(text=text, content_type="text/html", headers=headers)
