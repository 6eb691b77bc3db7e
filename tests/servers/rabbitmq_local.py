"""RabbitMQ from the `rabbitmq-server` of this computer."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.servers.apt import install
from tests.servers.machine import output_of, start_keeper
from tests.servers.ports import accepts, free_port

# The packages put wrappers on the PATH that insist on the rabbitmq user; the scripts behind them do not.
_SERVER_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin", "/usr/sbin")

_STOP_SECONDS = 60

_CONFIGURATION = """
default_user = tests
default_pass = {password}
disk_free_limit.absolute = 1MB
raft.wal_max_size_bytes = 16777216
"""

_LAST_WILL = """
kill -KILL -"$1" -"$2"
rm -rf "$3"
"""


def installed_scripts() -> Path | None:
    """The folder with rabbitmq-server and rabbitmqctl, if this computer has them."""
    found = shutil.which(
        "rabbitmq-server", path=os.pathsep.join((*_SERVER_FOLDERS, os.environ.get("PATH", "")))
    )
    return Path(found).parent if found else None


def install_with_apt() -> Path | None:
    """Installs rabbitmq-server from the distribution, without starting its service; returns its scripts."""
    install("rabbitmq-server", there=lambda: installed_scripts() is not None)
    return installed_scripts()


class LocalMachine:
    """The `rabbitmq-server` of this computer, with its own epmd, as whoever runs the tests, root included."""

    def __init__(self, scripts: Path, parent: Path | None = None) -> None:
        """Its folder is made inside `parent`, or among the temporary files."""
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._scripts = scripts
        self._folder = Path(tempfile.mkdtemp(prefix="shopbus-test-rabbitmq-", dir=parent))
        self._environment = self._configure()
        self._processes: list[subprocess.Popen[bytes]] = []  # epmd, the node, their keeper

    @property
    def running(self) -> bool:
        """Whether the node's process is there."""
        return bool(self._processes) and self._processes[1].poll() is None

    def launch(self) -> None:
        """Starts epmd and the node, each in a session of its own."""
        epmd = shutil.which("epmd", path=self._environment["PATH"])
        if epmd is None:
            raise RuntimeError("Erlang's epmd is missing beside rabbitmq-server")
        port = self._environment["ERL_EPMD_PORT"]
        self._processes = [self._spawn([epmd, "-address", "127.0.0.1", "-port", port])]
        while not accepts(int(port)) and self._processes[0].poll() is None:
            time.sleep(0.01)  # a node that finds no epmd would start one that nobody ends
        self._processes.append(self._spawn([self._scripts / "rabbitmq-server"]))
        groups = [str(process.pid) for process in self._processes]
        self._processes.append(start_keeper(_LAST_WILL, *groups, str(self._folder)))

    def stop(self) -> None:
        """Ends the node in order."""
        self._processes[1].terminate()  # the script, which passes it on and waits for the node's end
        self._processes[1].wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends the node, its children and its epmd with SIGKILL, if they run."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self._processes = []

    def freeze(self) -> None:
        """Stops the node's clock."""
        os.killpg(self._processes[1].pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        os.killpg(self._processes[1].pid, signal.SIGCONT)

    def erase(self) -> None:
        """Removes the data of a node that does not run."""
        shutil.rmtree(self._folder / "data")

    def evaluate(self, expression: str) -> str:
        """What an Erlang expression gives inside the node; raises `RuntimeError` where it fails.

        `erl_call` asks in milliseconds; rabbitmqctl starts an Erlang of its own, which takes a second of a processor.
        """
        caller = shutil.which("erl_call", path=self._environment["PATH"])
        if caller is None:
            control = self._scripts / "rabbitmqctl"
            return output_of([control, "--quiet", "eval", f"{expression}."], self._environment).strip()
        address = f"127.0.0.1:{self._environment['RABBITMQ_DIST_PORT']}"
        said = output_of([caller, "-address", address, "-e"], self._environment, told=f"{expression}.\n")
        answer = re.fullmatch(r"\{ok, (.*)\}", said.strip(), re.DOTALL)
        if answer is None:
            raise RuntimeError(f"{expression}: {said}")
        return answer[1]

    def said(self) -> str:
        """What it printed at its start."""
        return (self._folder / "output").read_text(errors="replace")[-4000:]

    def close(self) -> None:
        """Ends the node and removes everything."""
        self.kill()
        shutil.rmtree(self._folder)

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _configure(self) -> dict[str, str]:
        folder, ports = self._folder, [str(free_port()) for _ in range(2)]
        (folder / "rabbitmq.conf").write_text(_CONFIGURATION.format(password=self.password))
        (folder / "plugins").write_text("[].\n")
        (folder / "empty").touch()
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        local_only = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
        return {
            "PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": ports[0],
            "RABBITMQ_NODENAME": f"shopbus-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": ports[1],
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{local_only} +S 2:2",
            "RABBITMQ_CTL_ERL_ARGS": f"{local_only} +S 1:1",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "empty"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
        }
