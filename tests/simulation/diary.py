"""What handlers note of themselves while they run. The code of a frozen or dead process notes nothing."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from libs.common.contracts.envelope import Message
from tests.chaos.history import Run

_FROZEN_SECONDS = 0.5  # without a sign of life for so long, a handler may have stood still with its process


class Diary:
    """The runs of handlers, each from its first to its last sign of life."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.runs: list[Run] = []
        self._now = now

    def begin(self, run: Run) -> int:
        """A run begins now; returns its number."""
        self.runs.append(replace(run, began=self._now(), last=self._now()))
        return len(self.runs) - 1

    def alive(self, number: int) -> int:
        """A sign of life. After too long a silence it is another run; returns the number of that."""
        run, now = self.runs[number], self._now()
        if now - run.last > _FROZEN_SECONDS:
            return self.begin(run)
        self.runs[number] = replace(run, last=now)
        return number


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a handler sees of the process it runs in."""

    process: str
    diary: Diary
    die: Callable[[], Awaitable[None]]


SURROUNDINGS: ContextVar[Surroundings] = ContextVar("surroundings")


@contextmanager
def noted(handler: str, *messages: Message) -> Iterator[Callable[[], None]]:
    """A handler works on messages; gives what it calls as a sign of life."""
    here = SURROUNDINGS.get()
    numbers = [
        here.diary.begin(Run(str(message.id), handler, message.shop, here.process, 0.0, 0.0))
        for message in messages
    ]

    def alive() -> None:
        numbers[:] = map(here.diary.alive, numbers)

    try:
        yield alive
    finally:
        alive()
