"""Opening Postgres, with a deadline around every wait, and telling its absence from a statement's own failure."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeAlias

import asyncpg

from libs.common import session_store
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
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
)


# The part of it that no statement can be blamed for at first sight: the server broke off, or its disk is full. A
# deadlock or too little memory are not among them: a statement may bring them about itself, again and again. One that
# fills the disk, or ends the server, is found out by counting (docs/decisions/0017).
_BROKEN_OFF = (
    DatabaseAway,
    asyncpg.DiskFullError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
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


def is_lost(conn: Connection) -> bool:
    """Whether a connection is gone. One out of a pool refuses to say so once the pool has noticed itself."""
    try:
        return bool(conn.is_closed())
    except asyncpg.InterfaceError:
        return True


def interrupts(error: BaseException) -> bool:
    """Whether an error of a statement says that the server broke off or is full, not that the statement was wrong."""
    return isinstance(error, _BROKEN_OFF) and not isinstance(error, asyncpg.QueryCanceledError)


def database_url(settings: CommonSettings) -> str:
    """The URL to connect to; raises `DatabaseAway` where none is set and no embedded server was started."""
    if settings.database_url is None:
        raise DatabaseAway(
            "DATABASE_URL is not set; `shopbus run` starts an embedded Postgres, `serve` does not"
        )
    return settings.database_url.get_secret_value()


BRACKET_SECONDS = 5.0  # for BEGIN, COMMIT and ROLLBACK, which a silent server must not hold up for ever


class HonestConnection(asyncpg.Connection):
    """A connection whose COMMIT fails where Postgres answers it with a rollback.

    That is what it does when a statement of the transaction failed and its error was swallowed; asyncpg raises nothing.
    """

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        bracket = query.startswith(("BEGIN", "COMMIT", "ROLLBACK;"))
        try:
            tag: str = await super().execute(query, *args, timeout=BRACKET_SECONDS if bracket else timeout)
        except TimeoutError:
            if bracket:
                self.terminate()  # nobody knows where its transaction stands
            if not query.startswith("ROLLBACK;"):
                raise
            return "ROLLBACK"  # undone with its connection: what led here, perhaps a cancellation, goes on
        if tag == "ROLLBACK" and query.startswith("COMMIT"):
            raise asyncpg.InFailedSQLTransactionError(
                "a statement had failed, so the transaction was rolled back"
            )
        return tag


IDLE_IN_TRANSACTION = 30.0  # seconds

# A host that vanished without a word is noticed by Postgres within ten seconds or so, and its locks are free again.
SESSION = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


async def _nothing_to_reset(_: object) -> None:
    """Spares the round trip that asyncpg makes after every use: nothing here changes a session's state.

    Handlers are told so (docs/handlers.md); asyncpg itself still rolls back a transaction that was left open.
    """


@asynccontextmanager
async def open_pool(
    settings: CommonSettings,
    *,
    size: int | None = None,
    name: str = "shopbus",
    longest_transaction: float | None = None,
) -> AsyncIterator[asyncpg.Pool]:
    """A pool that opens connections as they are needed, so that a service starts while Postgres is away.

    `longest_transaction`, in seconds, is for a pool whose statements somebody else bounds: they have no deadline of
    their own then, but the server ends a session that holds a transaction open for longer without a word.
    """
    timeout = settings.database_timeout_seconds
    pool = asyncpg.create_pool(
        database_url(settings),
        min_size=0,
        max_size=size or settings.database_pool_size,
        command_timeout=timeout if longest_transaction is None else None,
        timeout=timeout,
        max_inactive_connection_lifetime=300,
        init=session_store.compress_with_lz4,
        reset=_nothing_to_reset,
        connection_class=HonestConnection,
        server_settings={
            **SESSION,
            "application_name": name,
            "synchronous_commit": "on",
            "idle_in_transaction_session_timeout": f"{longest_transaction or IDLE_IN_TRANSACTION:g}s",
        },
    )
    async with pool:
        try:
            yield pool
        finally:
            pool.terminate()


class Connect(Protocol):
    """Opens a connection that belongs to its caller alone: for LISTEN and for session locks."""

    async def __call__(self, **session: str) -> asyncpg.Connection:
        """`session` are settings of the server's for this session; raises what asyncpg raises."""


def direct_connections(settings: CommonSettings) -> Connect:
    """What opens direct connections to the database of the settings."""
    url, timeout = database_url(settings), settings.database_timeout_seconds

    async def connect(**session: str) -> asyncpg.Connection:
        return await asyncpg.connect(
            url, timeout=timeout, command_timeout=timeout, server_settings=SESSION | session
        )

    return connect


@asynccontextmanager
async def connection(pool: asyncpg.Pool, timeout: float) -> AsyncIterator[Connection]:
    """A connection out of the pool within `timeout` seconds, else `DatabaseAway`.

    An error inside goes on as it is, even where the connection cannot be given back after it: a cancellation that
    became a timeout would be taken for Postgres' absence, and who was told to end would go on for ever.
    """
    with database_away_named():
        borrowed = await pool.acquire(timeout=timeout)
    try:
        yield borrowed
    except BaseException:
        with suppress(Exception):  # asyncpg has dropped it then
            await pool.release(borrowed, timeout=timeout)
        raise
    await pool.release(borrowed, timeout=timeout)
