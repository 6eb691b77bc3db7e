"""What services/webhooks is told by its environment."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from libs.common.contracts.subscriptions import WEBHOOK_PATH
from libs.common.runtime.config import ConsumerSettings
from libs.common.settings import Count, Seconds
from libs.common.shopify.admin.config import AdminSettings

Secret = Annotated[SecretStr, Field(min_length=1)]


class Settings(ConsumerSettings, AdminSettings):
    """Settings of services/webhooks, beside those of services that work on messages and that call the Admin API."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8082

    shopify_api_secret: Secret
    shopify_api_secret_old: Secret | None = None  # still signs while a client secret is being rotated
    ops_token: Secret
    service_key: Secret  # whom was erased is known by a hash with it; and auth knows us by it

    # Shopify hangs up 5 seconds after it connected, so body and commit together have to stay below that.
    webhook_body_limit_bytes: Count = 10 * 1024 * 1024
    webhook_body_seconds: Seconds = 1.8  # for the body to arrive
    accept_timeout_seconds: Seconds = 3.0  # for the commit
    rejected_keep: Count = 10_000  # rows in the log of rejected requests

    app_url: str | None = None
    subscription_check_seconds: Seconds = 10_800.0  # between two checks of a shop; Shopify deletes after 4 h

    reconcile_every_seconds: Annotated[float, Field(ge=0)] = 3_600.0  # between two runs of a shop; 0: never
    reconcile_grace_seconds: Seconds = 3_600.0  # a delivery that takes longer counts as lost
    reconcile_run_seconds: Seconds = (
        600.0  # after which a run lets other shops have their turn, and goes on later
    )

    @field_validator("shopify_api_secret_old", "app_url", mode="before")
    @classmethod
    def _empty_means_none(cls, value: object) -> object:
        return value or None

    @property
    def webhook_uri(self) -> str | None:
        """Where Shopify is to send webhooks to; None where nobody has said how browsers and Shopify reach the app."""
        if self.app_url is not None:
            return self.app_url.rstrip("/") + WEBHOOK_PATH
        return None if self.sandbox_store_url is None else f"http://{self.host}:{self.port}{WEBHOOK_PATH}"

    @property
    def settle_seconds(self) -> float:
        """An id may be so much older than the commit of its row: connecting and committing each take their time."""
        return max(2 * self.database_timeout_seconds, min(60.0, self.reconcile_grace_seconds))
