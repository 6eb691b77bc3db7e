"""Settings come from the environment, name what is wrong, and never show a secret."""

from importlib import import_module
from pathlib import Path

import pytest
from pydantic import SecretStr

from libs.common.errors import ConfigurationError
from libs.common.runtime.config import ConsumerSettings
from libs.common.settings import CommonSettings
from tests.environment import MakeSettings


class WithSecret(CommonSettings):
    service_key: SecretStr


def test_a_missing_secret_stops_the_start_and_is_named() -> None:
    with pytest.raises(ConfigurationError, match="SERVICE_KEY"):
        WithSecret.load()


def test_every_wrong_setting_is_named_and_no_value_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "4711a")
    monkeypatch.setenv("BROKER_CONFIRM_SECONDS", "-0.815")
    with pytest.raises(ConfigurationError) as caught:
        CommonSettings.load()
    assert "PORT" in str(caught.value)
    assert "BROKER_CONFIRM_SECONDS" in str(caught.value)
    assert "4711a" not in str(caught.value)
    assert "0.815" not in str(caught.value)


def test_an_error_does_not_bring_the_values_along_as_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "hush")
    with pytest.raises(ConfigurationError) as caught:
        CommonSettings.load()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_empty_url_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("RABBITMQ_URL", "")
    settings = CommonSettings.load()
    assert settings.database_url is None
    assert settings.rabbitmq_url is None


@pytest.mark.parametrize("service", ["auth", "ingest", "webhooks", "worker", "sandbox"])
def test_an_empty_url_counts_as_unset_in_every_service(service: str, settings: MakeSettings) -> None:
    """A copied .env.example has such lines, and a service's own validator must not hide the shared one."""
    kind = import_module(f"services.{service}.config").Settings
    loaded = settings(kind, database_url="", rabbitmq_url="")
    assert (loaded.database_url, loaded.rabbitmq_url) == (None, None)


def test_the_environment_and_the_env_file_are_read(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("PORT=8123\nLOG_FORMAT=console\n")
    monkeypatch.setenv("LOG_FORMAT", "json")
    settings = CommonSettings.load()
    assert settings.port == 8123
    assert settings.log_format == "json"  # the environment wins


@pytest.mark.parametrize("field", ["database_url", "rabbitmq_url"])
def test_a_printed_setting_hides_its_password(field: str) -> None:
    settings = CommonSettings.load(**{field: "amqp://user:tell-nobody@127.0.0.1/"})
    assert "tell-nobody" not in f"{settings!r} {settings} {settings.model_dump()}"


@pytest.mark.parametrize(
    "field", ["consumer_concurrency", "consumer_buffer", "consumer_prefetch", "consumer_lease_seconds"]
)
def test_a_consumer_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ConfigurationError, match=field.upper()):
        ConsumerSettings.load(**{field: 0})
