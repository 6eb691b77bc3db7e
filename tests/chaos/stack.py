"""The services as processes of their own, which a chaos run may kill, freeze and start again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.chaos.history import Trouble
from tests.chaos.process import PLAIN, Build
from tests.servers.ports import free_port

SECRET = "chaos-secret"
OPS_TOKEN = "chaos-ops"
_ROOT = Path(__file__).parents[2]


class ServiceProcess(Protocol):
    """What is needed of a process, however it was started."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Stack:
    """One webhooks process and some workers: the names in `urls`, each with its own URLs of Postgres and RabbitMQ.

    In `folder` each has its log, and each life of each a file of the runs of its handlers.
    """

    def __init__(
        self, folder: Path, urls: Mapping[str, tuple[str, str]], build: Mapping[str, Build] | None = None
    ) -> None:
        self.names = tuple(urls)
        self.build = dict(build or {})  # what the next start of each process is built as
        self.troubles: list[Trouble] = []  # processes that ended by themselves
        self.killed: list[str] = []  # whom `kill` ended, and who killed themselves as build or message wanted
        self._folder = folder
        self._urls = urls
        self._ports = {name: free_port() for name in urls}
        self._processes: dict[str, ServiceProcess] = {}

    def __enter__(self) -> Self:
        for name in self.names:
            self.start(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._processes):
            self.kill(name)

    @property
    def url(self) -> str:
        """Where Shopify's webhooks go."""
        return f"{self.base('webhooks')}/webhooks/shopify"

    @property
    def workers(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name != "webhooks")

    def base(self, name: str) -> str:
        """Where a process answers HTTP; the same over restarts."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def log(self, name: str) -> Path:
        """What all lives of a process wrote."""
        return self._folder / f"{name}.log"

    def start(self, name: str) -> None:
        """Starts one service; it works once it is ready, which nobody waits for here."""
        service = name.rstrip("0123456789")
        self._processes[name] = self._launch(service, self._environment(name), self.log(name))

    def kill(self, name: str) -> None:
        """SIGKILL, as the kernel does when memory is out."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        self.killed.append(name)

    def stop(self, name: str) -> int:
        """SIGTERM, as a deployment does; returns the exit code."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(30)

    def freeze(self, name: str) -> None:
        """Stops a process's clock: its connections stay open and nothing answers."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Lets a frozen process go on."""
        self._processes[name].send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        """The process's id; another after each start."""
        return self._processes[name].pid

    def alive(self, name: str) -> bool:
        """Whether a process runs, frozen or not."""
        return name in self._processes and self._processes[name].poll() is None

    def dead(self) -> list[str]:
        """Processes that ended by themselves."""
        return [name for name, process in list(self._processes.items()) if process.poll() is not None]

    def revive(self) -> None:
        """Starts those that ended by themselves, as an orchestrator does; any but a suicide is remembered."""
        for name in self.dead():
            code = self._processes.pop(name).wait()
            if code == -signal.SIGKILL:
                self.killed.append(name)
            else:
                self.troubles.append(Trouble(name, f"ended by itself with code {code}"))
            self.start(name)

    def _launch(self, service: str, environment: Mapping[str, str], log: Path) -> ServiceProcess:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.process", service],
                env=environment,
                cwd=self._folder,
                stdout=output,
                stderr=output,
            )

    def _environment(self, name: str) -> dict[str, str]:
        database_url, rabbitmq_url = self._urls[name]
        build = self.build.get(name, PLAIN)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT),
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": rabbitmq_url,
            "SHOPIFY_API_SECRET": SECRET,
            "OPS_TOKEN": OPS_TOKEN,
            "SERVICE_KEY": "k" * 64,
            "SHOPIFY_API_KEY": "chaos-app",
            "HANDLERS": "tests.chaos.handlers",
            "LOG_LEVEL": "WARNING",
            "SHUTDOWN_SECONDS": "5",
            "PORT": str(self._ports[name]),
            **build.settings,
            "CHAOS_NAME": name,
            "CHAOS_RUNS": str(self._folder),
            "CHAOS_PARENT": str(os.getpid()),
            "CHAOS_BUILD": build.written(),
        }
