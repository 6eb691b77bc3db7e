"""What `shopbus doctor` finds out about a pooler between us and Postgres."""

import re

import asyncpg

from libs.common.db import connection
from libs.common.errors import DatabaseAway
from services.cli.findings import Finding, wrong

NO_SESSIONS = wrong(
    "database",
    "a pooler in between does not keep sessions: locks, LISTEN and prepared statements get lost",
    "pool_mode = session in pgbouncer.ini, or connect to Postgres directly",
)

UNKEPT_STATEMENTS = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""What comes of a statement whose preparation went to another session than its execution."""

_TRIES = 3  # where others use the pooler too, a session may be kept by chance
_REFUSED = re.compile(r"unsupported startup parameter: (\w+)")


async def check_sessions(pool: asyncpg.Pool, timeout: float) -> list[Finding]:
    """Whether a connection keeps its session while another one is in a transaction; nothing if it does.

    A pooler by transaction gives what is free: the session that the first connection just used.
    """
    async with connection(pool, timeout) as first, connection(pool, timeout) as second:
        for _ in range(_TRIES):
            before = await first.fetchval("SELECT pg_backend_pid()")
            async with second.transaction():
                await second.fetchval("SELECT pg_backend_pid()")
                if await first.fetchval("SELECT pg_backend_pid()") != before:
                    return [NO_SESSIONS]
    return []


def refused_setting(error: DatabaseAway) -> Finding | None:
    """What PgBouncer has to be told where it refuses a setting that each of our sessions begins with."""
    cause = error.__cause__
    if (
        not isinstance(cause, asyncpg.ProtocolViolationError)
        or (found := _REFUSED.search(str(cause))) is None
    ):
        return None
    mend = "name it in ignore_startup_parameters in pgbouncer.ini; docs/deployment.md has the whole list"
    return wrong("database", f"PgBouncer refuses the setting {found[1]}", mend)
