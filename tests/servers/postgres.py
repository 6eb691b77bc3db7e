"""A private Postgres on a TCP port of 127.0.0.1, so that a proxy can stand in front of it."""

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeAlias

import psutil
import psycopg
from psycopg import sql

from libs.common.postmaster import Account, Postmaster, StopMode
from tests.servers.ports import free_port
from tests.servers.small_disk import SmallDisk

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_lock_waits": "on",
}

_SWITCH_WAL = "SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 100000)), pg_switch_wal()"
_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> ALL (%s)
"""

Connection: TypeAlias = "psycopg.Connection[tuple[object, ...]]"


def _binaries() -> Path | None:
    """`TEST_POSTGRES_BIN` names another version's programs; without it, those that make run uses."""
    chosen = os.environ.get("TEST_POSTGRES_BIN")
    return Path(chosen) if chosen else None


class PostgresServer:
    """One server with a folder and a port of its own; both stay the same over restarts."""

    def __init__(
        self,
        options: Mapping[str, str] | None = None,
        *,
        disk_bytes: int | None = None,
        parent: Path | None = None,
    ) -> None:
        """With `disk_bytes` its data lies on a small file system (`why_no_small_disk`), which can be filled.

        Otherwise in a folder of its own inside `parent`, or among the temporary files.
        """
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="shopbus-test-postgres-", dir=parent))
        self._disk = SmallDisk(self._folder, disk_bytes) if disk_bytes else None
        account = Account.for_data(self._folder / "data")
        account.own(self._folder)
        self._postmaster = Postmaster(
            self._folder / "data",
            {**_OPTIONS, "port": str(self.port), **(options or {})},
            scratch=self._folder,
            binaries=_binaries(),
            account=account,
            orphan_mode="immediate",
        )
        self._initialise(account)

    def _initialise(self, account: Account) -> None:
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        account.own(password_file)
        password_file.write_text(self.password)
        self._postmaster.initialise("--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """The superuser's URL."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Whether the server's main process is there, frozen or not."""
        return self._postmaster.pid is not None

    @property
    def pid(self) -> int:
        """The server's main process; raises where it does not run."""
        if self._postmaster.pid is None:
            raise RuntimeError("the Postgres server does not run")
        return self._postmaster.pid

    def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        self._postmaster.dismiss_keeper()  # there is one where the last server ended by itself
        self._postmaster.start()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stops the server in order (`fast` ends the sessions, `immediate` leaves recovery to the next start)."""
        self._postmaster.stop(mode, within=30)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stops the server and starts it again."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Ends every process of the server with SIGKILL, as a power cut would."""
        self._signal_all(signal.SIGKILL)
        self._postmaster.stop("immediate")

    def freeze(self) -> None:
        """Stops the clock of every process of the server: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def fill_disk(self) -> None:
        """Leaves no room on its small disk, until `heal`."""
        if self._disk is None:
            raise RuntimeError("this server has no small disk to fill")
        self._disk.fill()

    def use_up_wal(self) -> None:
        """Writes to the log until the full disk has no room for it: the server crashes, and has none to recover."""
        with suppress(psycopg.OperationalError), self._session() as session:
            while not session.broken:
                with suppress(psycopg.errors.DiskFull):
                    session.execute(_SWITCH_WAL)

    def terminate_sessions(self) -> int:
        """Ends every session of a client but its own; how many there were."""
        with self._session() as session:
            return len(session.execute(_TERMINATE, [_pids([session])]).fetchall())

    def hold_snapshot(self, database: str) -> Connection:
        """An open transaction that still sees every row of now, so that nothing is vacuumed until it is closed."""
        connection = psycopg.connect(self.url(database))
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT")
        return connection

    def take_connections(self) -> list[Connection]:
        """Takes every connection there is, those of other clients as well; they are held until they are closed."""
        taken = self.take_free_connections()
        while taken[0].execute(_TERMINATE, [_pids(taken)]).fetchall():
            taken += self.take_free_connections()
        return taken

    def take_free_connections(self) -> list[Connection]:
        """Takes every connection that nobody has; they are held until they are closed."""
        free: list[Connection] = []
        with suppress(psycopg.OperationalError):
            while True:
                free.append(self._session())
        return free

    def heal(self, within: float = 60.0) -> None:
        """Undoes what a test did: the server has room, runs and answers."""
        if self._disk:
            self._disk.clear()
        deadline = time.monotonic() + within
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError("Postgres did not come back")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Thaws or starts it where that is needed; whether it takes connections."""
        if not self.running:
            self.start()
        self.thaw()
        try:
            with self._session() as session:
                session.execute("SELECT")
        except psycopg.OperationalError:  # it recovers from a crash, or is about to end
            return False
        return True

    def create_database(self, name: str, template: str = "template1") -> None:
        """Makes a database as a copy of another."""
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        self._execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))

    def drop_database(self, name: str) -> None:
        """Removes a database and ends the sessions that are left in it."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Ends the server and removes its data."""
        if self.running:
            self.kill()
        self._postmaster.dismiss_keeper()
        if self._disk:
            self._disk.close()
        shutil.rmtree(self._folder)

    def _execute(self, statement: sql.Composed) -> None:
        with self._session() as session:
            session.execute(statement)

    def _session(self) -> Connection:
        return psycopg.connect(self.url(), autocommit=True, connect_timeout=5)

    def _signal_all(self, number: signal.Signals) -> None:
        main = psutil.Process(self.pid)
        main.suspend()  # first, so that it starts no further process
        for process in (*main.children(recursive=True), main):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _pids(connections: Sequence[Connection]) -> list[int]:
    return [connection.info.backend_pid for connection in connections]
