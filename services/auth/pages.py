"""The few pages that auth shows itself. Nothing in them comes from a request but a checked shop."""

from html import escape

import orjson
from aiohttp import web

from libs.common.shopify import csp
from services.auth.service import App

_OUT_OF_FRAME = """<!doctype html>
<title>Opening Shopify …</title>
<script data-api-key="{client_id}" src="{app_bridge}"></script>
<script>open({address}, "_top")</script>
<p><a href="{link}" target="_top">Continue</a></p>
"""

_GREETING = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{shop}</title>
<script data-api-key="{client_id}" src="{app_bridge}"></script>
<h1>Hello, {shop}</h1>
<p id="access">Asking for access …</p>
<script>
  fetch("/auth/token", {{method: "POST"}})
    .then(async answer => [answer.ok, await answer.json()])
    .then(([ok, said]) => {{
      document.getElementById("access").textContent =
        ok ? `The app may use ${{said.scopes || "nothing yet"}} until ${{said.expires_at}}.` : said.detail;
      document.body.dataset.access = ok ? "granted" : "refused";
    }});
</script>
</html>
"""


def out_of_frame(address: str, shop: str, app: App) -> web.Response:
    """Opens an address in the whole window: the consent page is not shown in a frame."""
    text = _OUT_OF_FRAME.format(
        client_id=escape(app.credentials.client_id), app_bridge=escape(app.addresses.app_bridge),
        address=_script_text(address), link=escape(address),
    )  # fmt: skip
    return _page(text, shop, app)


def greeting(shop: str, app: App) -> web.Response:
    """Greets the shop and says what the app may do, fetched with a session token."""
    text = _GREETING.format(
        shop=escape(shop),
        client_id=escape(app.credentials.client_id),
        app_bridge=escape(app.addresses.app_bridge),
    )
    return _page(text, shop, app)


def _page(text: str, shop: str, app: App) -> web.Response:
    headers = csp.framed_by(app.addresses.frame_ancestors(shop)) | {"Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _script_text(text: str) -> str:
    """A text inside a script: no `<` in it can end the script."""
    return orjson.dumps(text).decode().replace("<", "\\u003c")
