"""Services as processes of their own, as in production, which end with the benchmark."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tests.servers.ports import accepts, free_port

ROOT = Path(__file__).parents[1]


class Processes:
    """Starts Python modules with settings, each on a port of its own."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LOG_LEVEL": "WARNING",
            **settings,
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._folder = TemporaryDirectory(prefix="shopbus-bench-")
        self.folder = Path(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(30)
        self._folder.cleanup()

    async def started(self, module: str, *arguments: str, **settings: str) -> tuple[int, int]:
        """Starts a module and returns its port and process id once it listens; raises if it ends instead."""
        port = free_port()
        process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond, and nothing else runs here
            [sys.executable, "-m", module, *arguments],
            env={**self._environment, **settings, "PORT": str(port)},
            cwd=self.folder,
        )
        self._running.append(process)
        while not accepts(port):
            if process.poll() is not None:
                raise RuntimeError(f"{module} ended with {process.returncode}")
            await asyncio.sleep(0.05)
        return port, process.pid
