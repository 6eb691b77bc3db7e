"""Services forked from a process that has imported them already, which start in a fraction of the time."""

import multiprocessing
import os
import signal
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.chaos.process import begin
from tests.chaos.stack import ServiceProcess, Stack

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["__main__", "tests.chaos.process", "services.webhooks.app", "services.worker.app", "tests.chaos.bugs"]
)


class ForkedStack(Stack):
    """A stack of such services. To all else they are the same: processes of their own, from start to end."""

    def _launch(self, service: str, environment: Mapping[str, str], log: Path) -> ServiceProcess:
        process = _context.Process(target=_become, args=(service, dict(environment), log, self._folder))
        process.start()
        return _Child(process)


def _become(service: str, environment: Mapping[str, str], log: Path, folder: Path) -> None:
    """Turns the forked process into the service, as a command line would."""
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.clear()
    os.environ.update(environment, CHAOS_PARENT=str(os.getppid()))
    begin(service)


class _Child:
    """A process of multiprocessing, in the words of subprocess."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} s")
        return code

    def send_signal(self, sig: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
