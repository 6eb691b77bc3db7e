"""Settings of every service that answers the app's own pages, which show a session token."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from libs.common.clock import Clock
from libs.common.settings import CommonSettings
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.session_token import SessionTokenVerifier
from libs.common.web_session import SessionGuard

Secret = Annotated[SecretStr, Field(min_length=1)]


class SessionSettings(CommonSettings):
    """Who the app is, and where browsers reach it."""

    shopify_api_key: Annotated[str, Field(min_length=1)]
    shopify_api_secret: Secret
    shopify_api_secret_old: Secret | None = None  # still signs while a client secret is being rotated
    app_url: str | None = None
    sandbox_store_url: str | None = None

    @field_validator("shopify_api_secret_old", "app_url", "sandbox_store_url", mode="before")
    @classmethod
    def _empty_secret_means_none(cls, value: object) -> object:
        return value or None

    @property
    def public_url(self) -> str:
        """Where browsers reach the app, without a slash at its end."""
        return (self.app_url or f"http://{self.host}:{self.port}").rstrip("/")


def session_guard(settings: SessionSettings, clock: Clock) -> SessionGuard:
    """What stands before the routes of the app's own pages."""
    old = settings.shopify_api_secret_old
    secrets = settings.shopify_api_secret.get_secret_value(), old.get_secret_value() if old else None
    return SessionGuard(
        SessionTokenVerifier(settings.shopify_api_key, *secrets),
        Addresses(settings.sandbox_store_url),
        settings.shopify_api_key,
        settings.public_url,
        clock,
    )
