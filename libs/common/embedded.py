"""The Postgres of `make run`: nothing to install, its data in a folder, reached only by who started it."""

import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import psycopg

from libs.common.errors import ConfigurationError
from libs.common.postmaster import Account, Postmaster

_DATABASE = "shopbus"
_SOCKET_PATH_LIMIT = 100  # bytes; the kernel's is 103 on macOS and 107 on Linux


class EmbeddedPostgres:
    """A Postgres 18 on a folder, for as long as the `with` lasts; the data stays for the next time.

    Raises `ConfigurationError` if the folder is in use, `PostgresFailed` if the server does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._open = ExitStack()
        self._sockets = Path()

    @property
    def url(self) -> str:
        """For asyncpg and libpq alike. There is no password: the socket's folder lets nobody else in."""
        return self._url(_DATABASE)

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(_lock(self._folder))
            postmaster = self._prepare(opening)
            opening.callback(postmaster.stop)
            postmaster.start()
            self._ensure_database()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _prepare(self, opening: ExitStack) -> Postmaster:
        account = Account.for_data(self._folder)
        self._sockets = _socket_folder(account)
        opening.callback(
            shutil.rmtree, self._sockets, ignore_errors=True
        )  # a cleaner of /tmp may have been here
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self._sockets}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
        }
        postmaster = Postmaster(self._folder, options, scratch=self._sockets, account=account)
        if not self._folder.exists():
            postmaster.initialise("--auth-local=trust", "--auth-host=reject")
        return postmaster

    def _ensure_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)
            ).fetchone()
            if known is None:
                connection.execute("CREATE DATABASE shopbus")

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._sockets))}"


def _lock(folder: Path) -> IO[str]:
    """Takes the folder until the file is closed, which the kernel does too when our process dies."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            raise ConfigurationError(f"{folder} is in use by pid {lock.read().strip()}") from None
    lock.truncate(0)
    print(os.getpid(), file=lock, flush=True)
    return lock


def _socket_folder(account: Account) -> Path:
    """A private folder whose path is short enough for a unix socket."""
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) + len("/shopbus-12345678/.s.PGSQL.5432") > _SOCKET_PATH_LIMIT:
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
    folder = Path(tempfile.mkdtemp(prefix="shopbus-", dir=parent))
    account.own(folder)
    return folder
