"""What commands read: the environment, `.env`, and the secrets that `shopbus run` made on this machine."""

import os
from typing import Self

from pydantic import SecretStr, field_validator

from libs.common.settings import CommonSettings
from services.cli.errors import BadInput
from services.cli.local import secrets_file


class CliSettings(CommonSettings):
    """Settings of a command that talks to a running shopbus."""

    shopify_api_secret: SecretStr | None = None
    shopify_api_version: str = "2026-10"
    shopify_api_key: str | None = None
    shopify_scopes: str = ""
    app_url: str | None = None
    ops_token: SecretStr | None = None
    service_key: SecretStr | None = None

    @classmethod
    def read(cls) -> Self:
        return cls.load(**local_sources(CommonSettings.load()))

    @property
    def base_url(self) -> str:
        """Where `shopbus run` with the same settings listens."""
        return f"http://{self.host}:{self.port}"

    def require(self, name: str) -> str:
        """A secret's value; raises `BadInput` that says where it could come from."""
        secret: SecretStr | None = getattr(self, name.lower())
        if secret is None:
            made = secrets_file(self.state_dir)
            raise BadInput(f"no {name}: set it, or run `make run` here once, which makes one in {made}")
        return secret.get_secret_value()


class RunSettings(CommonSettings):
    """What decides whether `shopbus run` works with Shopify or with the sandbox store."""

    shopify_api_key: str | None = None
    app_url: str | None = None
    sandbox_store_url: str | None = None
    auth_url: str | None = None
    shopify_scopes: str = ""

    @field_validator("shopify_api_key", "app_url", "sandbox_store_url", "auth_url", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return value or None


def local_sources(common: CommonSettings) -> dict[str, object]:
    """Where settings on this machine come from: the environment, else `.env`, else the secrets made here.

    An empty value means unset, so that a copied `.env.example` does not hide the made secrets.
    """
    made = secrets_file(common.state_dir)
    readable = (made,) if os.access(made, os.R_OK) else ()  # those of another user are not ours to read
    return {"_env_file": (*readable, ".env"), "_env_ignore_empty": True}
