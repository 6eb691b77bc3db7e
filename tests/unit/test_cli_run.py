"""What `shopbus run` composes and says; that it runs is tested in tests/e2e/test_cli_run.py."""

from importlib import import_module
from pathlib import Path

import pytest
from pydantic import SecretStr

from libs.common.errors import ConfigurationError
from libs.common.settings import CommonSettings
from services.cli.config import RunSettings
from services.cli.run import SANDBOX, SERVICES, greeting
from tests.unit.shopbus_cli import Shopbus


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_what_run_and_serve_need(name: str) -> None:
    app, config = import_module(f"{SERVICES[name]}.app"), import_module(f"{SERVICES[name]}.config")
    assert callable(app.open_service)
    assert callable(app.run)
    assert issubclass(config.Settings, CommonSettings)


def test_the_greeting_shows_commands_that_work_when_pasted() -> None:
    text = "\n".join(greeting(RunSettings(), 8080, ".venv/bin/shopbus"))
    assert "http://127.0.0.1:8080" in text
    assert "\n  .venv/bin/shopbus send webhook orders/create" in text


def test_on_another_port_the_commands_name_it() -> None:
    assert "\n  PORT=9000 shopbus jobs ls" in "\n".join(greeting(RunSettings(), 9000, "shopbus"))


def test_the_greeting_says_whether_rabbitmq_is_used_but_not_its_url() -> None:
    with_broker = RunSettings(rabbitmq_url=SecretStr("amqp://user:hush@host/"))
    assert "Postgres alone" in "\n".join(greeting(RunSettings(), 8080, "shopbus"))
    assert "in use (RABBITMQ_URL)" in "\n".join(greeting(with_broker, 8080, "shopbus"))
    assert "hush" not in "\n".join(greeting(with_broker, 8080, "shopbus"))


def test_the_greeting_leads_a_newcomer_to_a_store() -> None:
    stores = RunSettings(sandbox_store_url="http://127.0.0.1:8080/sandbox")
    assert "open http://127.0.0.1:8080/sandbox in a browser" in "\n".join(greeting(stores, 8080, "shopbus"))
    assert "sandbox" not in "\n".join(greeting(RunSettings(), 8080, "shopbus"))


def test_the_sandbox_is_no_service_of_production() -> None:
    assert SANDBOX not in SERVICES.values()
    result = Shopbus()("serve", "sandbox")
    assert (result.exit_code, "no service is called 'sandbox'" in result.stderr) == (2, True)


@pytest.mark.parametrize("package", ["services.auth", "services.sandbox"])
def test_the_sandbox_is_refused_where_others_reach_the_app(package: str) -> None:
    secrets = dict.fromkeys(("shopify_api_secret", "token_keys", "service_key", "ops_token"), "s" * 32)
    sandbox = {"shopify_api_key": "k", "sandbox_store_url": "http://127.0.0.1:8080/sandbox"}
    settings = import_module(f"{package}.config").Settings
    assert settings.load(**secrets, **sandbox, app_url="http://127.0.0.1:8080").sandbox_store_url
    with pytest.raises(ConfigurationError, match="only for an app_url on this machine"):
        settings.load(**secrets, **sandbox, app_url="https://app.example.com")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = Shopbus()("run", STATE_DIR=str(tmp_path / "file" / "state"))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
