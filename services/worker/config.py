"""Settings of the worker."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from libs.common.runtime.config import ConsumerSettings
from libs.common.session_settings import SessionSettings
from libs.common.settings import Count
from libs.common.shopify.admin.config import AdminSettings

HANDLERS_HERE = "services.worker.handlers"

Secret = Annotated[SecretStr, Field(min_length=1)]


class Settings(ConsumerSettings, SessionSettings, AdminSettings):
    """The worker's settings. `HANDLERS` names packages outside, separated by commas."""

    port: int = Field(default=8084, ge=0, le=65535)
    ops_token: SecretStr = Field(min_length=1)
    handlers: str = ""
    pixel_retention_days: Count = 90  # how long pixel events are kept, by the day they happened

    # Merchants ask for the data of their own customers with a session token, which Shopify signs.
    shopify_api_key: Annotated[str, Field(min_length=1)]
    shopify_api_secret: Secret
    shopify_api_secret_old: Secret | None = None  # still signs while a client secret is being rotated
    service_key: Secret

    @field_validator("shopify_api_secret_old", mode="before")
    @classmethod
    def _no_old_secret(cls, value: object) -> object:
        return value or None

    @property
    def handler_packages(self) -> list[str]:
        """The packages to look for handlers in, the worker's own first."""
        return [HANDLERS_HERE, *(name.strip() for name in self.handlers.split(",") if name.strip())]
