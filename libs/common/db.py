"""Opening Postgres, with a deadline around every wait, and telling its absence from a statement's own failure."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from libs.common.errors import DatabaseAway
from libs.common.settings import CommonSettings

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""What a statement runs on: a connection of its own, or one out of a pool."""

# What asyncpg raises when the server is gone, going, not yet there, or silent. A statement of ours that Postgres
# refuses (a constraint, a bad value) is none of these. TimeoutError covers command_timeout and acquire(timeout=).
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, "starting up"; also pg_terminate_backend
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.TransactionRollbackError,  # deadlock or serialisation: the same work may be tried again
    asyncpg.ReadOnlySQLTransactionError,  # a demoted primary
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
)


def is_away(error: BaseException) -> bool:
    """Whether an error says that Postgres cannot work right now, rather than that it refused a statement."""
    if isinstance(error, asyncpg.DataError):
        return False  # also an InterfaceError where asyncpg could not encode an argument
    return isinstance(error, (*_AWAY, DatabaseAway))


@contextmanager
def database_away_named() -> Iterator[None]:
    """Turns every way in which Postgres can be away into `DatabaseAway`; lets refusals of statements pass."""
    try:
        yield
    except DatabaseAway:
        raise
    except Exception as error:
        if is_away(error):
            raise DatabaseAway(f"Postgres is away: {type(error).__name__}") from error
        raise


def database_url(settings: CommonSettings) -> str:
    """The URL to connect to; raises `DatabaseAway` where none is set and no embedded server was started."""
    if settings.database_url is None:
        raise DatabaseAway("DATABASE_URL is not set; `shopbus run` starts an embedded Postgres, `serve` does not")
    return settings.database_url.get_secret_value()


@asynccontextmanager
async def open_pool(
    settings: CommonSettings, *, size: int | None = None, name: str = "shopbus"
) -> AsyncIterator[asyncpg.Pool]:
    """A pool that opens connections as they are needed, so that a service starts while Postgres is away."""
    pool = asyncpg.create_pool(
        database_url(settings),
        min_size=0,
        max_size=size or settings.database_pool_size,
        command_timeout=settings.database_timeout_seconds,
        timeout=settings.database_timeout_seconds,
        max_inactive_connection_lifetime=300,
        server_settings={"application_name": name, "synchronous_commit": "on"},
    )
    async with pool:
        try:
            yield pool
        finally:
            pool.terminate()


@asynccontextmanager
async def connection(pool: asyncpg.Pool, timeout: float) -> AsyncIterator[Connection]:
    """A connection out of the pool within `timeout` seconds, else `DatabaseAway`."""
    with database_away_named():
        borrowed = await pool.acquire(timeout=timeout)
    try:
        yield borrowed
    finally:
        await pool.release(borrowed, timeout=timeout)
