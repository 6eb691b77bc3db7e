"""Where Shopify's pages are. The sandbox store plays them under an address of this machine."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from yarl import URL

from libs.common.shopify.scopes import Scopes

ADMIN = "admin.shopify.com"
APP_BRIDGE = "https://cdn.shopify.com/shopifycloud/app-bridge.js"
_BASE64 = re.compile(r"[0-9A-Za-z+/]{1,512}={0,2}", re.ASCII)
_ADMIN_PAGE = re.compile(
    r"admin\.shopify\.com/store/([a-z0-9][a-z0-9-]*)|([a-z0-9][a-z0-9-]*)\.myshopify\.com/admin", re.ASCII
)


_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


def on_this_machine(url: str) -> bool:
    """Whether an address leads nowhere else: secrets and tokens are sent to the sandbox store."""
    return URL(url).host in _THIS_MACHINE


@dataclass(frozen=True, slots=True)
class Addresses:
    """Builds every address of Shopify's that auth needs, from a shop whose domain was checked before."""

    sandbox: str | None = None  # where the sandbox store stands in for Shopify, without a slash at its end

    def store(self, shop: str) -> str:
        """The root of a store's own addresses."""
        return f"https://{shop}" if self.sandbox is None else f"{self.sandbox}/{shop}"

    def consent(
        self,
        shop: str,
        *,
        client_id: str,
        scopes: Scopes,
        redirect_uri: str,
        state: str,
        online: bool = False,
    ) -> str:
        """The page that asks the merchant; without scopes Shopify takes those of the app's configuration."""
        query = {"client_id": client_id, "redirect_uri": redirect_uri, "state": state}
        if scopes.names:
            query["scope"] = str(scopes)
        if online:
            query["grant_options[]"] = "per-user"
        return f"{self.store(shop)}/admin/oauth/authorize?{urlencode(query)}"

    def token_endpoint(self, shop: str) -> str:
        """Where codes, session tokens and refresh tokens are turned into access tokens."""
        return f"{self.store(shop)}/admin/oauth/access_token"

    def embedded_app(self, host: str, client_id: str) -> str | None:
        """The app inside the admin that `host` stands for; None where it stands for no page of Shopify's.

        `host` decides where a browser is sent, so only the two forms that Shopify gives out are followed.
        """
        handle = admin_handle(host)
        if handle is None:
            return None
        if self.sandbox is not None:
            return f"{self.sandbox}/{handle}.myshopify.com/admin/apps/{client_id}"
        return f"https://{decoded_host(host)}/apps/{client_id}"

    def frame_ancestors(self, shop: str) -> Sequence[str]:
        """Who may show a page of the app for this shop in a frame."""
        if self.sandbox is not None:
            return (str(URL(self.sandbox).origin()),)
        return (f"https://{shop}", f"https://{ADMIN}")

    @property
    def app_bridge(self) -> str:
        """The script that gives the app's pages their session tokens."""
        return APP_BRIDGE if self.sandbox is None else f"{self.sandbox}/app-bridge.js"


def decoded_host(host: str) -> str | None:
    """The text in the `host` parameter, which is base64 without its padding; None where it is anything else."""
    if _BASE64.fullmatch(host) is None:
        return None
    bare = host.rstrip("=")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode("ascii")
    except (NotBase64, ValueError):
        return None


def admin_handle(host: str) -> str | None:
    """The name of the store whose admin `host` stands for; None where it is no admin's address."""
    text = decoded_host(host)
    found = _ADMIN_PAGE.fullmatch(text) if text is not None else None
    return (found[1] or found[2]) if found else None
