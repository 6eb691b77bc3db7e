"""A private Postgres on a TCP port of 127.0.0.1, so that a proxy can stand in front of it."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
import psycopg
from psycopg import sql

from libs.common.postmaster import Account, Postmaster, StopMode
from tests.servers.ports import free_port

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_lock_waits": "on",
}


def _binaries() -> Path | None:
    """`TEST_POSTGRES_BIN` names another version's programs; without it, those that make run uses."""
    chosen = os.environ.get("TEST_POSTGRES_BIN")
    return Path(chosen) if chosen else None


class PostgresServer:
    """One server with a folder and a port of its own; both stay the same over restarts."""

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="shopbus-test-postgres-"))
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

    def start(self) -> None:
        """Starts the server and waits until it takes connections."""
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

    def heal(self) -> None:
        """Undoes what a test did: the server runs and answers."""
        if self.running:
            self.thaw()
        else:
            self.start()

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
        shutil.rmtree(self._folder)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._postmaster.pid is None:
            raise RuntimeError("the Postgres server does not run")
        main = psutil.Process(self._postmaster.pid)
        main.suspend()  # first, so that it starts no further process
        for process in (*main.children(recursive=True), main):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
