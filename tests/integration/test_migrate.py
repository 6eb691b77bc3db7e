"""Migrations: applied once, all or nothing, and never over what a newer version made."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from libs.common.errors import DatabaseAway
from libs.common.migrate import MigrationFailed, migrate, protocol_sql
from tests.servers.postgres import PostgresServer

PLACE = """from libs.common.migrate import run_sql

revision, down_revision = {revision!r}, {previous!r}
upgrade = run_sql({files})
"""


class Migrations:
    """A folder of services with migrations, written by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, script: str, *, files: str = "__file__") -> None:
        service, _, number = name.rpartition("/")
        folder = self.folder / service / "migrations"
        folder.mkdir(parents=True, exist_ok=True)
        previous = f"{int(number) - 1:04}" if int(number) > 1 else None
        (folder / f"{number}_step.sql").write_text(script)
        place = PLACE.format(revision=number, previous=previous, files=files)
        (folder / f"{number}_step.py").write_text(place)

    def remove(self, name: str) -> None:
        service, _, number = name.rpartition("/")
        for path in (self.folder / service / "migrations").glob(f"{number}_*"):
            path.unlink()


@pytest.fixture
def migrations(tmp_path: Path) -> Migrations:
    return Migrations(tmp_path / "services")


def tables(url: str) -> set[str]:
    statement = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname !~ '^pg_|^information'"
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute(statement)}


def test_each_service_gets_its_schema_and_a_second_run_applies_nothing(
    empty_database: str, migrations: Migrations
) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    migrations.add("shoes/0002", "CREATE TABLE soles (x int); INSERT INTO laces VALUES (1);")
    migrations.add("hats/0001", "CREATE TABLE brims (x int);")
    applied = migrate(empty_database, folder=migrations.folder)
    assert applied == ["hats/0001_step", "shoes/0001_step", "shoes/0002_step"]
    assert tables(empty_database) == {
        "hats.alembic_version",
        "hats.brims",
        "shoes.alembic_version",
        "shoes.laces",
        "shoes.soles",
    }
    assert migrate(empty_database, folder=migrations.folder) == []


def test_a_later_migration_is_applied_on_top(empty_database: str, migrations: Migrations) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    migrate(empty_database, folder=migrations.folder)
    migrations.add("shoes/0002", "ALTER TABLE laces ADD COLUMN length int;")
    assert migrate(empty_database, folder=migrations.folder) == ["shoes/0002_step"]


def test_only_the_services_that_were_asked_for_are_migrated(
    empty_database: str, migrations: Migrations
) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    migrations.add("hats/0001", "CREATE TABLE brims (x int);")
    assert migrate(empty_database, ["hats"], folder=migrations.folder) == ["hats/0001_step"]


def test_sql_is_taken_as_it_is_written(empty_database: str, migrations: Migrations) -> None:
    migrations.add(
        "shoes/0001",
        "CREATE FUNCTION sure() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN '100 % :sure'; END $$;",
    )
    migrate(empty_database, folder=migrations.folder)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT shoes.sure()").fetchone() == ("100 % :sure",)


def test_two_runs_at_once_apply_everything_once(empty_database: str, migrations: Migrations) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int); SELECT pg_sleep(0.2);")
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(migrate, empty_database, folder=migrations.folder) for _ in range(4)]
    assert sorted(run.result() for run in runs) == [[], [], [], ["shoes/0001_step"]]


def test_a_run_does_not_wait_for_ever_for_another(empty_database: str, migrations: Migrations) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    with psycopg.connect(empty_database) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (int.from_bytes(b"shopbus"),))
        with pytest.raises(MigrationFailed, match="another migration"):
            migrate(empty_database, folder=migrations.folder, patience=0.1)
    assert migrate(empty_database, folder=migrations.folder) == ["shoes/0001_step"]


def test_a_migration_that_fails_leaves_nothing_behind(empty_database: str, migrations: Migrations) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    migrations.add("shoes/0002", "CREATE TABLE soles (x int); SELECT 1 / 0;")
    with pytest.raises(MigrationFailed, match="migrating shoes failed: division by zero"):
        migrate(empty_database, folder=migrations.folder)
    assert tables(empty_database) == set()


def test_a_failure_keeps_what_was_there_before(empty_database: str, migrations: Migrations) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    migrate(empty_database, folder=migrations.folder)
    migrations.add("shoes/0002", "DROP TABLE laces; CREATE TABLE broken (;")
    with pytest.raises(MigrationFailed, match="syntax error"):
        migrate(empty_database, folder=migrations.folder)
    assert tables(empty_database) == {"shoes.alembic_version", "shoes.laces"}


def test_a_database_of_a_newer_version_is_refused(empty_database: str, migrations: Migrations) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    migrations.add("shoes/0002", "CREATE TABLE soles (x int);")
    migrate(empty_database, folder=migrations.folder)
    migrations.remove("shoes/0002")
    with pytest.raises(MigrationFailed, match="schema shoes is at version 0002, which this shopbus does not"):
        migrate(empty_database, folder=migrations.folder)


def test_sql_without_its_place_in_the_order_is_not_passed_over(
    empty_database: str, migrations: Migrations
) -> None:
    migrations.add("shoes/0001", "CREATE TABLE laces (x int);")
    (migrations.folder / "shoes" / "migrations" / "0002_forgotten.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationFailed, match=r"0002_forgotten\.sql has no 0002_forgotten\.py"):
        migrate(empty_database, folder=migrations.folder)


def test_the_outbox_protocol_goes_into_the_services_own_schema(
    empty_database: str, migrations: Migrations
) -> None:
    protocol = [str(protocol_sql(name)) for name in ("producer_0001", "consumer_0001")]
    migrations.add("shoes/0001", "", files=", ".join(map(repr, protocol)))
    migrate(empty_database, folder=migrations.folder)
    assert {"shoes.messages", "shoes.outbox", "shoes.failed", "shoes.history"} <= tables(empty_database)


def test_the_real_migrations_leave_nothing_to_do_after_one_run(empty_database: str) -> None:
    assert migrate(empty_database)
    assert migrate(empty_database) == []


def test_a_database_that_is_away_is_named_as_such(postgres: PostgresServer, empty_database: str) -> None:
    postgres.stop()
    with pytest.raises(DatabaseAway, match="cannot migrate") as caught:
        migrate(empty_database)
    assert postgres.password not in str(caught.value)
