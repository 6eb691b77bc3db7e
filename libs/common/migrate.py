"""Brings each service's schema to the version of the code: numbered SQL files, applied in order by Alembic.

A migration is `services/<name>/migrations/NNNN_what.sql` with its place in the order beside it, `NNNN_what.py`:

    from libs.common.migrate import run_sql

    revision, down_revision = "0002", "0001"
    upgrade = run_sql(__file__)

The SQL runs with the service's schema as its search path, so names need no qualification. All that a service's schema
misses is one transaction. There is no way back down: a mistake is mended by the next migration.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from libs.common.errors import DatabaseAway, ShopbusError

_SERVICES = Path(__file__).parents[2] / "services"
_LOCK = int.from_bytes(
    b"shopbus"
)  # of Postgres' advisory locks, so that two starts at once apply everything once
_CONNECT_SECONDS = 10
_TABLE_LOCK = "10s"  # a migration that waits longer for a table holds up all who queue behind it

Upgrade = Callable[[psycopg.Connection], None]


class MigrationFailed(ShopbusError):
    """The database could not be brought to this version; it is as it was before."""


def run_sql(*files: str | Path) -> Upgrade:
    """The `upgrade` of a migration: runs these files, or with `__file__` the SQL file of the same name."""
    scripts = [Path(file).with_suffix(".sql").read_bytes() for file in files]

    def upgrade(connection: psycopg.Connection) -> None:
        for script in scripts:
            connection.execute(script)

    return upgrade


def protocol_sql(name: str) -> Path:
    """A file of the outbox protocol, for `run_sql`: its tables stand in the schema of each service that uses it."""
    return Path(__file__).parent / "outbox" / "sql" / f"{name}.sql"


def budget_sql(name: str) -> Path:
    """A file of the Admin API's budget, for `run_sql`: its schema is one for all services that call Shopify."""
    return Path(__file__).parent / "shopify" / "admin" / "sql" / f"{name}.sql"


def migrate(
    database_url: str,
    services: Sequence[str] | None = None,
    *,
    folder: Path = _SERVICES,
    patience: float = 60.0,
) -> list[str]:
    """Applies what is missing and returns its names, such as `webhooks/0001_protocol`.

    Waits up to `patience` seconds for another migration to end. Raises `DatabaseAway` or `MigrationFailed`; the
    services before the one that failed are migrated then.
    """
    chosen = services if services is not None else _services_in(folder)
    with _exclusively(database_url, patience):
        return [name for service in chosen for name in _migrate_service(database_url, service, folder)]


def _services_in(folder: Path) -> list[str]:
    return sorted({path.parent.parent.name for path in folder.glob("*/migrations/*.py")})


def _connect(database_url: str, *, autocommit: bool = False) -> psycopg.Connection:
    try:
        return psycopg.connect(database_url, autocommit=autocommit, connect_timeout=_CONNECT_SECONDS)
    except psycopg.OperationalError as error:
        raise DatabaseAway(f"cannot migrate: {_one_line(error)}") from error


@contextmanager
def _exclusively(database_url: str, patience: float) -> Iterator[None]:
    """Holds the lock on a connection of its own, with which it ends, whatever becomes of us."""
    with _connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{patience * 1000:.0f}ms",))
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationFailed(f"another migration was still running after {patience:g} s") from error
        except psycopg.OperationalError as error:
            raise DatabaseAway(f"cannot migrate: {_one_line(error)}") from error
        yield


def _migrate_service(database_url: str, service: str, folder: Path) -> list[str]:
    scripts = _scripts(service, folder / service / "migrations")
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: _connect(database_url), poolclass=NullPool
    )
    try:
        with engine.begin() as connection:
            return _upgrade(connection, service, scripts)
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        raise MigrationFailed(f"migrating {service} failed: {_one_line(error)}") from error


def _scripts(service: str, folder: Path) -> ScriptDirectory:
    unplaced = {path.stem for path in folder.glob("*.sql")} - {path.stem for path in folder.glob("*.py")}
    if unplaced:
        raise MigrationFailed(
            f"{service}: {min(unplaced)}.sql has no {min(unplaced)}.py that gives its place"
        )
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def _upgrade(connection: Connection, service: str, scripts: ScriptDirectory) -> list[str]:
    driver: Any = connection.connection.driver_connection
    schema = sql.Identifier(service)
    driver.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    driver.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
    driver.execute("SELECT set_config('lock_timeout', %s, true)", (_TABLE_LOCK,))
    applied: list[str] = []
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table_schema": service,
            "fn": lambda heads, _: scripts._upgrade_revs("head", heads),  # noqa: SLF001 - as alembic.command does
            "on_version_apply": [
                lambda step, **_: applied.append(_name(service, scripts, step.up_revision_id))
            ],
        },
    )
    _refuse_unknown(service, scripts, context.get_current_heads())
    context.run_migrations(connection=driver)
    return applied


def _refuse_unknown(service: str, scripts: ScriptDirectory, heads: Sequence[str]) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if unknown := set(heads) - known:
        raise MigrationFailed(
            f"the schema {service} is at version {min(unknown)}, which this shopbus does not know: "
            "the database was migrated by a newer one; start that one"
        )


def _name(service: str, scripts: ScriptDirectory, revision: str) -> str:
    return f"{service}/{Path(scripts.get_revision(revision).path).stem}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
