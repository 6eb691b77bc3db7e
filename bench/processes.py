"""Services as processes of their own, as in production, which end with the benchmark."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tests.servers.ports import accepts, free_port

ROOT = Path(__file__).parents[1]


class Processes:
    """Starts Python modules with settings, each on a port of its own."""

    def __init__(self, settings: Mapping[str, str], *, quiet: bool = False) -> None:
        """What `quiet` ones say goes to `log`, and not to the terminal."""
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LOG_LEVEL": "WARNING",
            **settings,
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._folder = TemporaryDirectory(prefix="shopbus-bench-")
        self.folder = Path(self._folder.name)
        self.log = self.folder / "log"
        self._output = self.log.open("wb") if quiet else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            _ended(process)
        if self._output:
            self._output.close()
        self._folder.cleanup()

    async def started(self, module: str, *arguments: str, **settings: str) -> tuple[int, int]:
        """Starts a module and returns its port and process id once it listens; raises if it ends instead."""
        port = free_port()
        process = self.launched(module, *arguments, PORT=str(port), **settings)
        while not accepts(port):
            if process.poll() is not None:
                raise RuntimeError(f"{module} ended with {process.returncode}")
            await asyncio.sleep(0.05)
        return port, process.pid

    def launched(self, module: str, *arguments: str, **settings: str) -> "subprocess.Popen[bytes]":
        """Starts a module, in a group of its own with all that it starts."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**self._environment, **settings},
            cwd=self.folder,
            start_new_session=True,
            stdout=self._output,
            stderr=self._output and subprocess.STDOUT,
        )
        self._running.append(process)
        return process


def _ended(process: "subprocess.Popen[bytes]") -> None:
    """Waits for a process, and ends what is left of its group."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
