"""One run of the sandbox's sender from the command line: progress, Ctrl-C, the ids of what was accepted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from yarl import URL

from libs.common.service import start, until_signalled
from services.cli.api import away
from services.cli.errors import BadInput, ServerAway
from services.sandbox.deliveries import Plan, Signer
from services.sandbox.sender import Load, Patience, Sender, open_session
from services.sandbox.tally import Tally

_REDRAW_SECONDS = 0.2


@dataclass(slots=True)
class Accepted:
    """The distinct ids of accepted messages, written down as they come in for whoever checks them later."""

    file: TextIO | None = None
    ids: dict[str, None] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def writing_to(cls, path: Path | None) -> Iterator[Self]:
        if path is None:
            yield cls()
            return
        try:
            file = path.open("w", buffering=1)
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror}") from None
        with file:
            yield cls(file)

    def add(self, identifier: str) -> None:
        if identifier in self.ids:
            return
        self.ids[identifier] = None
        if self.file is not None:
            self.file.write(f"{identifier}\n")


@dataclass(frozen=True, slots=True)
class Errand:
    """What to send, where, how fast, and how patiently."""

    url: str
    signer: Signer
    plan: Plan
    load: Load
    concurrency: int
    patience: Patience
    draw: Random

    def run(self, accepted: Accepted, *, quiet: bool) -> dict[str, Any]:
        """Sends everything, or as much as is possible before Ctrl-C; returns the summary."""
        tally, began = Tally(), monotonic()
        start(until_signalled(self._send(tally, accepted, quiet=quiet)))
        summary = tally.summary(monotonic() - began)
        return {**summary, "url": self.url, "interrupted": tally.ended < self.load.count + tally.copies}

    async def _send(self, tally: Tally, accepted: Accepted, *, quiet: bool) -> None:
        await knock(self.url, self.patience.connect)
        async with (
            open_session(self.patience, self.concurrency) as http,
            progress(lambda: tally.ended, lambda: self.load.count + tally.copies, quiet=quiet),
        ):
            sender = Sender(
                http,
                self.url,
                self.signer,
                concurrency=self.concurrency,
                patience=self.patience,
                tally=tally,
                on_accepted=accepted.add,
            )
            await sender.send(self.load, self.plan.delivery, draw=self.draw)


async def knock(address: str, seconds: float) -> None:
    """Says at once that nobody is there, rather than after every retry of everything; raises `ServerAway`."""
    url = URL(address)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(url.host, url.port)
    except (OSError, TimeoutError):
        raise ServerAway(away(url)) from None
    writer.close()


@asynccontextmanager
async def progress(done: Callable[[], int], total: Callable[[], int], *, quiet: bool) -> AsyncIterator[None]:
    """A bar on a terminal while the block runs."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        drawing = asyncio.create_task(_draw(bar, done, total))
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing


async def _draw(bar: Progress, done: Callable[[], int], total: Callable[[], int]) -> None:
    line = bar.add_task("sending", total=total())
    while True:
        bar.update(line, completed=done(), total=total())
        await asyncio.sleep(_REDRAW_SECONDS)
