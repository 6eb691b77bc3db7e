"""Settings of the worker."""

from pydantic import Field, SecretStr

from libs.common.runtime.config import ConsumerSettings
from libs.common.session_settings import SessionSettings
from libs.common.settings import Count, Seconds
from libs.common.shopify.admin.config import AdminSettings

HANDLERS_HERE = "services.worker.handlers"


class Settings(ConsumerSettings, SessionSettings, AdminSettings):
    """The worker's settings. `HANDLERS` names packages outside, separated by commas."""

    port: int = Field(default=8084, ge=0, le=65535)
    ops_token: SecretStr = Field(min_length=1)
    handlers: str = ""
    pixel_retention_days: Count = 90  # how long pixel events are kept, by the day they happened

    data_cache_entries: Count = 10_000  # answers of the data endpoints that a process keeps
    data_cache_megabytes: Count = 64
    data_fresh_seconds: Seconds = 60.0  # for which an answer is given again without asking Shopify
    data_stale_seconds: Seconds = 600.0  # for which it is there for when Shopify is away

    backfill_waiting: Count = 2_000  # messages of one backfill that may wait before reading pauses
    backfill_file_hosts: str = "storage.googleapis.com"  # where Shopify keeps the files of bulk operations

    @property
    def handler_packages(self) -> list[str]:
        """The packages to look for handlers in, the worker's own first."""
        return [HANDLERS_HERE, *(name.strip() for name in self.handlers.split(",") if name.strip())]

    @property
    def file_hosts(self) -> frozenset[str]:
        """The hosts that files of bulk operations may be read from."""
        return frozenset(name.strip() for name in self.backfill_file_hosts.split(",") if name.strip())
