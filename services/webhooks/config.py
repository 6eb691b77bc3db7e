"""What services/webhooks is told by its environment."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from libs.common.runtime.config import ConsumerSettings
from libs.common.settings import Count, Seconds

Secret = Annotated[SecretStr, Field(min_length=1)]


class Settings(ConsumerSettings):
    """Settings of services/webhooks, beside those of every service that works on messages."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8082

    shopify_api_secret: Secret
    shopify_api_secret_old: Secret | None = None  # still signs while a client secret is being rotated
    ops_token: Secret
    service_key: Secret  # whom was erased is known by a hash with it

    # Shopify hangs up 5 seconds after it connected, so body and commit together have to stay below that.
    webhook_body_limit_bytes: Count = 10 * 1024 * 1024
    webhook_body_seconds: Seconds = 1.8  # for the body to arrive
    accept_timeout_seconds: Seconds = 3.0  # for the commit
    rejected_keep: Count = 10_000  # rows in the log of rejected requests

    @field_validator("shopify_api_secret_old", mode="before")
    @classmethod
    def _no_old_secret(cls, value: object) -> object:
        return value or None
