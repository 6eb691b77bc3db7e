"""What fault tests may do to the private Postgres beyond ending and freezing it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psutil
import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.small_disk import why_no_small_disk
from tests.waiting import poll


def scalar(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row and row[0]


def test_sessions_are_terminated_and_new_ones_taken(postgres: PostgresServer, empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert postgres.terminate_sessions() >= 1
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")
    assert scalar(empty_database, "SELECT 1") == 1


async def test_a_held_snapshot_keeps_dead_rows(postgres: PostgresServer, empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
        with closing(postgres.hold_snapshot(empty_database.rpartition("/")[2])) as held:
            connection.execute("DELETE FROM kept")
            assert "1 are dead but not yet removable" in vacuumed(connection)
            assert held.execute("SELECT count(*) FROM kept").fetchone() == (1,)
        await poll(lambda: "0 are dead but not yet removable" in vacuumed(connection))


def vacuumed(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    said: list[str] = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    connection.execute("VACUUM VERBOSE kept")
    return " ".join(said)


def test_taken_connections_leave_none_for_others(postgres: PostgresServer, empty_database: str) -> None:
    with ExitStack() as held:
        there = held.enter_context(closing(psycopg.connect(empty_database, autocommit=True)))
        for connection in postgres.take_connections():
            held.enter_context(closing(connection))
        with pytest.raises(psycopg.errors.AdminShutdown):
            there.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            scalar(empty_database, "SELECT 1")
    assert scalar(empty_database, "SELECT 1") == 1


@pytest.fixture
def small_postgres() -> Iterator[PostgresServer]:
    """A server whose disk can be full."""
    if reason := why_no_small_disk():
        pytest.skip(reason)
    with PostgresServer(disk_bytes=200 << 20) as server:
        yield server


INSERT_MEGABYTES = "INSERT INTO kept SELECT repeat('x', 1000) FROM generate_series(1, 3000)"


def test_a_full_disk_refuses_rows_until_there_is_room(small_postgres: PostgresServer) -> None:
    with psycopg.connect(small_postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (x text)")
        small_postgres.fill_disk()
        with pytest.raises(psycopg.errors.DiskFull):
            connection.execute(INSERT_MEGABYTES)
        small_postgres.heal()
        connection.execute(INSERT_MEGABYTES)


def ended(session: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether its process at the server is gone; libpq does not know that after a failed write, before it reads."""
    return not psutil.pid_exists(session.info.backend_pid)


async def test_a_server_without_room_for_its_log_crashes_and_comes_back_with_what_was_committed(
    small_postgres: PostgresServer,
) -> None:
    with psycopg.connect(small_postgres.url(), autocommit=True) as witness:
        witness.execute("CREATE TABLE kept AS SELECT 1 AS x")
        small_postgres.fill_disk()
        small_postgres.use_up_wal()
        await poll(lambda: ended(witness))  # as every session does in a crash
    small_postgres.heal()
    assert scalar(small_postgres.url(), "SELECT count(*) FROM kept") == 1


def test_a_server_without_a_small_disk_is_not_filled(postgres: PostgresServer) -> None:
    with pytest.raises(RuntimeError, match="no small disk"):
        postgres.fill_disk()
