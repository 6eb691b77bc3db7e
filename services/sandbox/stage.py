"""What every page of the sandbox is made from: the app it plays for, its addresses, and what Shopify signs."""

from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import jwt

from libs.common.clock import Clock
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.launch import query_signature
from services.sandbox.scene import store_of

INSTALL, CALLBACK, APP_PAGE, WEBHOOKS = "/auth/install", "/auth/callback", "/auth/app", "/webhooks/shopify"
_TOKEN_LIFE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """The sandbox's addresses and signatures."""

    app: AppCredentials
    app_url: str
    url: str  # of the sandbox
    clock: Clock

    def admin(self, shop: str) -> str:
        return f"{self.url}/{shop}/admin"

    def framed_app(self, shop: str) -> str:
        """The app inside the shop's admin."""
        return f"{self.admin(shop)}/apps/{self.app.client_id}"

    def launch(self, shop: str) -> str:
        """The app's own address for beginning an install, as Shopify opens it."""
        return f"{self.app_url}{INSTALL}?{self._signed(shop, {})}"

    def app_page(self, shop: str) -> str:
        """The app's first page, as Shopify opens it in the admin's frame."""
        more = {"embedded": "1", "id_token": self.session_token(shop), "locale": "en"}
        return f"{self.app_url}{APP_PAGE}?{self._signed(shop, more)}"

    def consented(self, shop: str, *, code: str, state: str) -> str:
        """Where the merchant is sent back to, with the code."""
        return f"{self.app_url}{CALLBACK}?{self._signed(shop, {'code': code, 'state': state})}"

    def session_token(self, shop: str) -> str:
        """A token of the admin for the shop's merchant."""
        now = self.clock.now()
        claims = {
            "iss": f"https://{shop}/admin",
            "dest": f"https://{shop}",
            "aud": self.app.client_id,
            "sub": str(merchant(shop)),
            "exp": now + _TOKEN_LIFE,
            "nbf": now,
            "iat": now,
            "jti": str(uuid4()),
            "sid": f"{store_of(shop).id:064x}",
        }
        return jwt.encode(claims, self.app.client_secret, algorithm="HS256")

    def _signed(self, shop: str, more: dict[str, str]) -> str:
        pairs = [
            *more.items(),
            ("host", host_of(shop)),
            ("shop", shop),
            ("timestamp", str(int(self.clock.now().timestamp()))),
        ]
        return urlencode([("hmac", query_signature(self.app.client_secret, pairs)), *pairs])


def merchant(shop: str) -> int:
    """The id of the member of staff who plays the merchant."""
    return store_of(shop).id + 7


def host_of(shop: str) -> str:
    """The `host` parameter: the shop's admin in base64, without padding."""
    place = f"admin.shopify.com/store/{shop.removesuffix('.myshopify.com')}"
    return b64encode(place.encode()).decode().rstrip("=")
