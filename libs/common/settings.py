"""Settings that every service reads, from the environment and `.env`, under the same names everywhere."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.common.errors import ConfigurationError

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class CommonSettings(BaseSettings):
    """What all services share. Secrets have no default: a missing one stops the start."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr | None = None
    rabbitmq_url: SecretStr | None = None
    state_dir: Path = Path(".shopbus")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    shutdown_seconds: Seconds = 20.0  # how long a stop waits for work in flight
    retention_days: Count = 14  # how long payloads, deliveries and history are kept

    # Postgres
    database_pool_size: Count = 12
    database_timeout_seconds: Seconds = 3.0  # for any one statement, and for getting a connection

    # The broker route (libs/common/outbox)
    broker_lease_seconds: Seconds = 15.0  # how long a row waits for RabbitMQ to bring it
    broker_confirm_seconds: Seconds = 0.7  # a confirm later than this opens the circuit
    broker_high_water: Count = 5_000  # messages in one queue above which new rows stay in Postgres
    broker_heartbeat_seconds: Count = 5
    broker_connect_seconds: Seconds = 3.0
    shop_share_per_second: Seconds = (
        50.0  # beyond it (and the burst) a shop's messages take the overflow lane
    )
    shop_share_burst: Count = 50

    @field_validator("database_url", "rabbitmq_url", mode="before")
    @classmethod
    def _empty_url_means_unset(cls, value: object) -> object:
        return value or None

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Reads the settings; raises `ConfigurationError` naming every variable that is missing or wrong."""
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            problems = "; ".join(
                f"{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg'].lower()}"
                for item in error.errors(include_url=False, include_input=False)
            )
            raise ConfigurationError(f"cannot start: {problems}") from None
