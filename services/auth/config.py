"""Settings of auth."""

from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from yarl import URL

from libs.common.db import IDLE_IN_TRANSACTION
from libs.common.runtime.config import ConsumerSettings
from libs.common.settings import Count, Seconds
from libs.common.shopify.addresses import on_this_machine

Secret = Annotated[SecretStr, Field(min_length=1)]
_TRIES = 2  # how often Shopify is asked in one turn at most


class Settings(ConsumerSettings):
    """Settings of services/auth, beside those of every service that works on messages."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8081

    shopify_api_key: Annotated[str, Field(min_length=1)]
    shopify_api_secret: Secret
    shopify_api_secret_old: Secret | None = None  # still signs while a client secret is being rotated
    shopify_scopes: str = ""  # none: those of the app's own configuration at Shopify
    app_url: str | None = None
    token_keys: Secret
    service_key: Secret
    ops_token: Secret
    sandbox_store_url: str | None = None

    install_limit_shop: Count = 30  # begun for one shop by anybody and not finished, within ten minutes
    install_limit_address: Count = 60  # the same from one address
    auth_proxies: Annotated[int, Field(ge=0, le=10)] = 0  # how many of ours stand before this service

    shopify_timeout_seconds: Seconds = 5.0  # for one answer of the token endpoint
    token_lock_seconds: Annotated[float, Field(gt=0, validate_default=True)] = (
        15.0  # how long a request waits for another one's grant of the same shop
    )

    @field_validator("shopify_api_secret_old", "app_url", "sandbox_store_url", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return value or None

    @field_validator("app_url")
    @classmethod
    def _whole_address(cls, value: str | None) -> str | None:
        return None if value is None else _address("APP_URL", value)

    @field_validator("sandbox_store_url")
    @classmethod
    def _of_this_machine(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Client secrets are sent there, so it is never anywhere else, and never beside merchants of Shopify's."""
        if value is None:
            return None
        if not on_this_machine(value):
            raise ValueError("the sandbox store runs on this machine only")
        if (app_url := info.data.get("app_url")) and not on_this_machine(app_url):
            raise ValueError("the sandbox store is only for an APP_URL on this machine")
        return _address("SANDBOX_STORE_URL", value)

    @field_validator("shopify_timeout_seconds")
    @classmethod
    def _asked_twice_in_one_transaction(cls, value: float) -> float:
        if _TRIES * value >= IDLE_IN_TRANSACTION:
            raise ValueError(
                f"has to be below {IDLE_IN_TRANSACTION / _TRIES:g}: Postgres ends a transaction that is idle for "
                f"{IDLE_IN_TRANSACTION:g} s, and Shopify is asked twice in one"
            )
        return value

    @field_validator("token_lock_seconds")
    @classmethod
    def _outlasts_whom_it_waits_for(cls, value: float, info: ValidationInfo) -> float:
        timeout = info.data.get("shopify_timeout_seconds")
        if timeout is not None and value <= _TRIES * timeout:
            raise ValueError("has to be more than twice SHOPIFY_TIMEOUT_SECONDS: Shopify is asked twice")
        return value

    @property
    def public_url(self) -> str:
        """Where browsers reach the app, without a slash at its end."""
        return self.app_url or f"http://{self.host}:{self.port}"


def _address(name: str, value: str) -> str:
    url = URL(value)
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.query or url.fragment:
        raise ValueError(f"{name} has to be an address like https://app.example.com")
    return str(url).rstrip("/")
