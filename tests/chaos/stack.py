"""The services as processes of their own, which a chaos run may kill, freeze and start again."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.ports import free_port

SECRET = "chaos-secret"
OPS_TOKEN = "chaos-ops"
_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Stack:
    """One webhooks process and some workers. Their logs go to files in `folder`."""

    def __init__(
        self, folder: Path, *, database_url: str, rabbitmq_url: str | None, workers: int = 2
    ) -> None:
        self.port = free_port()
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT),
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": rabbitmq_url or "",
            "SHOPIFY_API_SECRET": SECRET,
            "OPS_TOKEN": OPS_TOKEN,
            "HANDLERS": "tests.chaos.handlers",
            "LOG_LEVEL": "WARNING",
            "SHUTDOWN_SECONDS": "5",
        }
        self._names = ["webhooks", *(f"worker{number}" for number in range(workers))]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for name in self._names:
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
        return f"http://127.0.0.1:{self.port}/webhooks/shopify"

    def start(self, name: str) -> None:
        """Starts one service; it works once it is ready, which nobody waits for here."""
        service = "webhooks" if name == "webhooks" else "worker"
        port = self.port if name == "webhooks" else free_port()
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                env={**self._environment, "PORT": str(port)},
                cwd=self._folder,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one thread starts processes, and nothing outlives the run
            )

    def kill(self, name: str) -> None:
        """SIGKILL, as the kernel does when memory is out."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM, as a deployment does; returns the exit code."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(30)

    def freeze(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def dead(self) -> list[str]:
        """Services that ended by themselves, which none may."""
        return [name for name, process in self._processes.items() if process.poll() is not None]
