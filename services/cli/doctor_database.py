"""What `shopbus doctor` asks Postgres."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr

from libs.common.db import connection, database_away_named, open_pool
from libs.common.errors import DatabaseAway
from libs.common.settings import CommonSettings
from services.cli.doctor_pooler import NO_SESSIONS, UNKEPT_STATEMENTS, check_sessions, refused_setting
from services.cli.findings import Finding, note, ok, wrong
from services.cli.local import holder
from services.cli.run import SERVICES
from services.cli.screen import duration

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

_SUPPORTED = range(15, 19)
_SKEW_SECONDS = 1.0
_PACKAGES = Path(__file__).parents[1]

# Asked over a connection as the services make it, so that what a pooler in between drops is seen too.
FACTS = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int / 10000 AS major,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       pg_is_in_recovery() AS replica,
       clock_timestamp() AS now
"""


async def check_database(settings: CommonSettings) -> list[Finding]:
    """Reachable, supported, safe, migrated, and of one mind about the time."""
    url = _url(settings)
    if url is None:
        return [
            note(
                "database",
                "DATABASE_URL is not set: `shopbus run` starts an embedded Postgres; it is off now",
            )
        ]
    reached = settings.model_copy(update={"database_url": SecretStr(url)})
    try:
        async with open_pool(reached, size=2, name="shopbus doctor") as pool:
            async with connection(pool, settings.database_timeout_seconds) as conn:
                with database_away_named():
                    findings = await _examine(conn)
            return findings + await check_sessions(pool, settings.database_timeout_seconds)
    except UNKEPT_STATEMENTS:
        return [NO_SESSIONS]
    except DatabaseAway as error:
        return [
            refused_setting(error)
            or wrong("database", str(error), "is DATABASE_URL right, and is the server on?")
        ]


def _url(settings: CommonSettings) -> str | None:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded_url(settings.state_dir) if holder(settings.state_dir) else None


def embedded_url(folder: Path) -> str | None:
    """Where the Postgres of a live `shopbus run` listens: the fifth line of its pid file is its socket."""
    try:
        sockets = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    except (OSError, IndexError):
        return None
    return f"postgresql://postgres@/shopbus?host={quote(sockets)}"


async def _examine(conn: Connection) -> list[Finding]:
    await conn.execute("SELECT 1")  # the first statement is slow, which would look like a clock that is off
    before = datetime.now(UTC)
    [row] = await conn.fetch(FACTS)
    skew = row["now"] - (before + (datetime.now(UTC) - before) / 2)
    missing = [name for service in SERVICES for name in await _missing_migrations(conn, service)]
    return [*judge(dict(row)), judge_migrations(missing), judge_skew(skew)]


async def _missing_migrations(conn: Connection, service: str) -> list[str]:
    """The migrations of a service that come after the version its schema is at."""
    async with conn.transaction(readonly=True):
        await conn.execute("SELECT set_config('search_path', $1, true)", service)
        known = await conn.fetchval("SELECT to_regclass('alembic_version')")
        version = await conn.fetchval("SELECT version_num FROM alembic_version") if known else ""
    files = sorted((_PACKAGES / service / "migrations").glob("[0-9]*.py"))
    return [f"{service}/{file.stem}" for file in files if file.stem.partition("_")[0] > (version or "")]


def judge(row: Mapping[str, Any]) -> list[Finding]:
    """One line if all is well, else one for everything that is not."""
    complaints = [wrong("database", words, mend) for broken, words, mend in _RULES if broken(row)]
    return complaints or [ok("database", f"PostgreSQL {row['version']}; what is committed is on disk")]


_RULES: tuple[tuple[Callable[[Mapping[str, Any]], bool], str, str], ...] = (
    (
        lambda row: row["major"] not in _SUPPORTED,
        "this version of PostgreSQL is not supported",
        f"use PostgreSQL {_SUPPORTED[0]} to {_SUPPORTED[-1]}",
    ),
    (
        lambda row: row["replica"],
        "this is a replica: nothing can be written to it",
        "set DATABASE_URL to the primary",
    ),
    (
        lambda row: row["fsync"] != "on",
        "fsync is off: a crash of its machine loses webhooks that were answered with 200",
        "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()",
    ),
    (
        lambda row: row["full_page_writes"] != "on",
        "full_page_writes is off: a crash of its machine may corrupt tables",
        "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()",
    ),
    (
        lambda row: row["synchronous_commit"] == "off",
        "synchronous_commit is off although shopbus asks for it on each connection",
        "a pooler in between drops it: ALTER ROLE … SET synchronous_commit = on, or pool by session",
    ),
)
"""What may be wrong with a server, in words, and what mends it."""


def judge_migrations(missing: Sequence[str]) -> Finding:
    if missing:
        return wrong("database", f"not migrated, missing: {', '.join(missing)}", "shopbus migrate")
    return ok("database", "migrated to this version")


def judge_skew(skew: timedelta) -> Finding:
    """Leases and schedules go by the database's clock; ours only dates what is shown and what is new."""
    seconds = skew.total_seconds()
    if abs(seconds) > _SKEW_SECONDS:
        which = "ahead of" if seconds > 0 else "behind"
        words = f"the database's clock is {duration(abs(seconds))} {which} this machine's"
        return wrong("clock", words, "let both follow the same time servers (NTP)")
    return ok("clock", "this machine and the database agree about the time")
