"""`shopbus app`: what Shopify is told about the app itself."""

import json
from collections.abc import Iterator, Mapping

import typer

from libs.common.contracts.subscriptions import app_specific
from libs.common.shopify.scopes import Scopes
from services.cli.config import CliSettings
from services.cli.errors import BadInput

app = typer.Typer(help="The app's own configuration at Shopify.")

_HEADING = """\
# Made by `shopbus app toml` from the settings and libs/common/contracts/subscriptions.py; make it again after a change.
# `shopify app deploy` uploads it with the web pixel in extensions/web-pixel."""


@app.command("toml")
def toml() -> None:
    """Print shopify.app.toml: addresses, scopes, compliance topics and what else the app's configuration holds."""
    typer.echo(shopify_app_toml(CliSettings.read()), nl=False)


def shopify_app_toml(settings: CliSettings) -> str:
    """Raises `BadInput` where nobody has said what the app is and where it is reached."""
    base = _required("APP_URL", settings.app_url).rstrip("/")
    tables: list[tuple[str, Mapping[str, object]]] = [
        ("", {
            "client_id": _required("SHOPIFY_API_KEY", settings.shopify_api_key), "name": "shopbus",
            "application_url": f"{base}/auth/app", "embedded": True, "extension_directories": ["extensions/*"],
        }),
        ("[access_scopes]", {"scopes": str(Scopes.parse(settings.shopify_scopes))}),
        ("[auth]", {"redirect_urls": [f"{base}/auth/callback"]}),
        ("[webhooks]", {"api_version": settings.shopify_api_version}),
        *(("[[webhooks.subscriptions]]", entry) for entry in app_specific()),
    ]  # fmt: skip
    return "\n".join(
        [_HEADING, *(line for heading, values in tables for line in _table(heading, values)), ""]
    )


def _table(heading: str, values: Mapping[str, object]) -> Iterator[str]:
    """JSON's texts, lists of texts and booleans are TOML's too."""
    yield ""
    if heading:
        yield heading
    for name, value in values.items():
        yield f"{name} = {json.dumps(value)}"


def _required(name: str, value: str | None) -> str:
    if not value:
        raise BadInput(f"no {name}: set it to what the app has at Shopify")
    return value
