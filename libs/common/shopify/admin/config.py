"""Settings of every service that calls the Admin API."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from libs.common.settings import CommonSettings
from libs.common.shopify.addresses import on_this_machine

Version = Annotated[str, Field(pattern=r"^(\d{4}-(01|04|07|10)|unstable)$")]


class AdminSettings(CommonSettings):
    """Where tokens come from, and which version of the API is called."""

    auth_url: Annotated[str, Field(min_length=1)] = "http://127.0.0.1:8081"
    service_key: Annotated[SecretStr, Field(min_length=1)]
    shopify_api_version: Version = "2026-10"
    sandbox_store_url: str | None = None
    api_waiting_per_shop: Annotated[int, Field(ge=1)] = (
        8  # calls that may wait for one shop's points in this process
    )

    @field_validator("sandbox_store_url", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("sandbox_store_url")
    @classmethod
    def _of_this_machine_only(cls, value: str | None) -> str | None:
        """Access tokens are sent there."""
        if value is not None and not on_this_machine(value):
            raise ValueError("the sandbox store runs on this machine only")
        return value
