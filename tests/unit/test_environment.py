"""The suite sees nothing of the developer's own settings."""

import os
from pathlib import Path

import pytest

from libs.common.settings import CommonSettings
from tests.environment import forget_environment


def test_only_the_broker_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://production")
    monkeypatch.setenv("SOME_SETTING_OF_TOMORROW", "x")
    assert forget_environment() == "amqp://127.0.0.1:1"
    settings = CommonSettings.load()
    assert settings.database_url is settings.rabbitmq_url is None
    assert "SOME_SETTING_OF_TOMORROW" not in os.environ
    assert os.environ["PATH"]


def test_no_env_file_of_a_developer_is_in_sight(elsewhere: Path) -> None:
    assert Path.cwd() == elsewhere
    assert not list(elsewhere.iterdir())
