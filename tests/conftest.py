"""Fixtures that every folder of tests shares: real servers, an empty database and an empty vhost per test."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from libs.common.migrate import migrate
from tests.environment import MakeSettings, S, forget_environment
from tests.servers.external_broker import clear_topology
from tests.servers.memory import folder_in_memory
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode, machine_maker

# How long an example takes says more about the machine than about the code.
hypothesis_settings.register_profile("suite", deadline=None)
hypothesis_settings.load_profile("suite")

EXTERNAL_BROKER = forget_environment()
_numbers = count(1)


# Files that take minutes come first, so that the processes that share the suite end at about the same time.
_FOLDERS = ("simulation", "chaos", "e2e", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts folders with long files first; within a folder the order stays."""
    root = Path(__file__).parent
    places = {root / folder: place for place, folder in enumerate(_FOLDERS)}
    items.sort(key=lambda item: places.get(item.path.parent, len(_FOLDERS)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Installs RabbitMQ where it is missing, before the first test: a test's own time limit is too short for that."""
    functions = [item for item in session.items if isinstance(item, pytest.Function)]
    wanted = any({"rabbit_node", "broker_url"} & set(function.fixturenames) for function in functions)
    if wanted and not EXTERNAL_BROKER and not session.config.option.collectonly:
        try:
            machine_maker()
        except RuntimeError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder, where no `.env` and no `.shopbus` of a developer is found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The suite's Postgres, started when a test first needs it."""
    room = {"max_connections": "400"}  # the chaos lab runs several whole systems at once
    with PostgresServer(room, parent=folder_in_memory()) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The suite's Postgres, for tests that stop, kill or freeze it; it runs again afterwards."""
    yield postgres_server
    postgres_server.heal()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """A database with every service's schema, of which tests get copies."""
    postgres_server.create_database("template_migrated")
    migrate(postgres_server.url("template_migrated"))
    return "template_migrated"


@pytest.fixture
def database(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database that only this test uses."""
    with _database(postgres, migrated_template) as url:
        yield url


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database without any schema of ours, that only this test uses."""
    with _database(postgres, "template1") as url:
        yield url


@pytest.fixture(scope="session")
def rabbit_node() -> Iterator[RabbitNode]:
    """The suite's RabbitMQ node, started when a test first needs it."""
    if EXTERNAL_BROKER:
        pytest.skip("RABBITMQ_URL is set: its server is not ours to kill, freeze or wipe")
    with RabbitNode(parent=folder_in_memory()) as node:
        yield node


@pytest.fixture
def rabbit(rabbit_node: RabbitNode) -> Iterator[RabbitNode]:
    """The suite's RabbitMQ node, for tests that mistreat it; it runs again afterwards."""
    yield rabbit_node
    rabbit_node.heal()


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty vhost that only this test uses; with `RABBITMQ_URL`, that one without our queues."""
    if EXTERNAL_BROKER:
        asyncio.run(clear_topology(EXTERNAL_BROKER))
        yield EXTERNAL_BROKER
        asyncio.run(clear_topology(EXTERNAL_BROKER))
        return
    node: RabbitNode = request.getfixturevalue("rabbit")
    vhost = node.take_vhost()
    yield node.vhost_url(vhost)
    node.give_back_vhost(vhost)


@pytest.fixture
def settings(tmp_path: Path) -> MakeSettings:
    """Makes a service's settings from defaults, made-up secrets and what the test passes; never from outside."""

    def make(kind: type[S], **overrides: object) -> S:
        required = [name for name, field in kind.model_fields.items() if field.is_required()]
        made_up = {name: secrets.token_hex(16) for name in required}
        return kind.load(**{"state_dir": tmp_path / ".shopbus", **made_up, **overrides})

    return make


@contextmanager
def _database(server: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    server.create_database(name, template)
    yield server.url(name)
    server.heal()
    server.drop_database(name)
