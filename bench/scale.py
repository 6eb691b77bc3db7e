"""How much a run does: rounds and seconds for figures to keep, or for a glance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


def _silent(_: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Passed to every benchmark."""

    rounds: int = 7
    seconds: float = 5.0  # of one side in one round
    backlog: int = 1_000_000
    progress: Callable[[str], None] = _silent

    @classmethod
    def short(cls) -> Self:
        """For CI and for a look."""
        return cls(rounds=3, seconds=2.0, backlog=50_000)
