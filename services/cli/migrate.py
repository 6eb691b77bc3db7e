"""`shopbus migrate`: bring the database's schemas up to this version."""

import typer

from libs.common.db import database_url
from libs.common.errors import ConfigurationError
from services.cli.config import CliSettings


def migrate() -> None:
    """Apply the migrations that DATABASE_URL still misses."""
    from libs.common.migrate import migrate as apply_migrations  # noqa: PLC0415 - as in run.py

    settings = CliSettings.read()
    if settings.database_url is None:
        raise ConfigurationError(
            "DATABASE_URL is not set; `shopbus run` migrates its embedded Postgres itself"
        )
    applied = apply_migrations(database_url(settings))
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo("the database is up to date" if not applied else f"{len(applied)} applied")
