"""What the sandbox store is told by its environment."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from yarl import URL

from libs.common.settings import CommonSettings

_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
_USUAL_PATH = "/sandbox"


class Settings(CommonSettings):
    """Settings of the sandbox store. It has the client secret and speaks for every shop, so it never leaves home."""

    shopify_api_key: Annotated[str, Field(min_length=1)]
    shopify_api_secret: Annotated[SecretStr, Field(min_length=1)]
    shopify_api_version: str = "2026-10"
    app_url: str | None = None
    sandbox_store_url: str | None = None

    @field_validator("app_url", "sandbox_store_url", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return value or None

    @field_validator("app_url")
    @classmethod
    def _app_of_this_machine(cls, value: str | None) -> str | None:
        """An app that others can reach has merchants of Shopify's, for whom nobody else may sign."""
        if value is not None and URL(value).host not in _THIS_MACHINE:
            raise ValueError("the sandbox store is only for an APP_URL on this machine")
        return value

    @field_validator("sandbox_store_url")
    @classmethod
    def _of_this_machine(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = URL(value)
        if url.scheme != "http" or url.host not in _THIS_MACHINE or len(url.path) < 2:  # noqa: PLR2004
            raise ValueError("the sandbox store has an address like http://127.0.0.1:8080/sandbox")
        return str(url.with_query(None).with_fragment(None)).rstrip("/")

    @property
    def public_url(self) -> str:
        """Where browsers reach the app, without a slash at its end."""
        return (self.app_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def store_url(self) -> str:
        """Where browsers and the app reach the sandbox, without a slash at its end."""
        return self.sandbox_store_url or f"http://{self.host}:{self.port}{_USUAL_PATH}"
