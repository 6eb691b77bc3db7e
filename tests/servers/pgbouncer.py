"""A PgBouncer of the tests' own, between them and a private Postgres."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from libs.common.postmaster import Account
from tests.servers.apt import install, may_install
from tests.servers.machine import start_keeper
from tests.servers.ports import accepts, free_port
from tests.servers.postgres import PostgresServer

_FOLDERS = ("/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin")
_START_SECONDS = 30
_LAST_WILL = 'kill -KILL "$1"; rm -rf "$2"'

_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=postgres password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
max_client_conn = 200
default_pool_size = 60
{more}
"""


def installed_pgbouncer() -> str | None:
    """PgBouncer of this computer."""
    return shutil.which("pgbouncer", path=os.pathsep.join((*_FOLDERS, os.environ.get("PATH", ""))))


def pgbouncer_program() -> str | None:
    """PgBouncer of this computer; as root on Debian or Ubuntu it is installed."""
    if installed_pgbouncer() is None and may_install():
        install("pgbouncer", there=lambda: installed_pgbouncer() is not None)
    return installed_pgbouncer()


class PgBouncer:
    """One pooler on a port of its own, which stays the same over restarts."""

    def __init__(self, program: str, server: PostgresServer, mode: str, more: str = "") -> None:
        """`mode` is `session`, `transaction` or `statement`; `more` are further lines of its configuration."""
        self.port = free_port()
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="shopbus-test-pgbouncer-"))
        self._account = Account.for_data(self._folder / "data")  # it refuses to be root, as Postgres does
        self._processes: list[subprocess.Popen[bytes]] = []  # it and its keeper
        self._account.own(self._folder)
        self._write("pgbouncer.ini", _CONFIGURATION.format(
            server=server.port, password=server.password, port=self.port, mode=mode, more=more,
        ))  # fmt: skip

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """A database of the server behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        log = self._write("output", "")
        with log.open("ab") as output:
            process = self._account.spawn([self._program, self._folder / "pgbouncer.ini"], output=output)
        self._processes = [process, start_keeper(_LAST_WILL, str(process.pid), str(self._folder))]
        deadline = time.monotonic() + _START_SECONDS
        while not accepts(self.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {log.read_text()[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Ends it with SIGKILL: all connections through it are cut, on both sides."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes = []

    def _write(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_text(text)
        self._account.own(file)
        return file
