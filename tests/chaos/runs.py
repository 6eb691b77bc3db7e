"""The runs of handlers: written down by the process that runs them, so that a kill loses nothing, and read later."""

import os
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.chaos.history import Run


class Recorder:
    """Appends lines to one file, each with one system call."""

    def __init__(self, folder: Path, process: str) -> None:
        self._file = os.open(folder / f"{process}-{os.getpid()}.runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._runs = 0

    @contextmanager
    def run(self, message_id: str, handler: str, shop: str) -> Iterator[Callable[[], None]]:
        """Writes when a run began and ended; the handler calls what it is given at each of its steps.

        One that is cancelled may be told so long after the end of what it ran under: that is no sign of life.
        """
        self._runs += 1
        number = self._runs
        self._write("began", number, message_id, handler, shop)
        try:
            yield partial(self._write, "alive", number)
        except CancelledError:
            self._write("cancelled", number)
            raise
        except BaseException:
            self._write("ended", number)
            raise
        self._write("ended", number)

    def _write(self, *words: object) -> None:
        os.write(self._file, f"{time.monotonic():.6f} {' '.join(map(str, words))}\n".encode())


def read_runs(folder: Path) -> list[Run]:
    """All runs of all processes, in the order in which they began."""
    runs = [run for file in sorted(folder.glob("*.runs")) for run in _runs_of(file)]
    return sorted(runs, key=lambda run: run.began)


def _runs_of(file: Path) -> Iterable[Run]:
    """Each from its first line to the last sign of life, also where its process was killed in it."""
    runs: dict[str, Run] = {}
    for line in file.read_text().splitlines():
        at, what, number, *rest = line.split()
        if what == "began":
            message_id, handler, shop = rest
            runs[number] = Run(message_id, handler, shop, file.stem, float(at), float(at))
        elif what != "cancelled":
            runs[number] = replace(runs[number], last=float(at))
    return runs.values()
