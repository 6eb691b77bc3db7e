"""How much a run does: rounds and seconds for figures to keep, or for a glance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


def _silent(_: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Passed to every benchmark."""

    rounds: int = 5
    seconds: float = 3.0  # of one side in one round
    backlogs: tuple[int, ...] = (1_000_000,)
    flood: int = 50_000
    pixel_events: int = 5_000_000  # over which memory is looked at
    progress: Callable[[str], None] = _silent

    @property
    def few_rounds(self) -> int:
        """For benchmarks whose turns are long."""
        return max(1, self.rounds // 2)

    @classmethod
    def long(cls) -> Self:
        """For figures to publish: more rounds, and ten million rows."""
        return cls(rounds=7, seconds=10.0, backlogs=(1_000_000, 10_000_000))

    @classmethod
    def drift(cls) -> Self:
        """For CI: what two benchmarks can say within a minute."""
        return cls(rounds=3, seconds=0.5, backlogs=(50_000,), flood=3_000)

    @classmethod
    def short(cls) -> Self:
        """For a look."""
        return cls(rounds=3, seconds=1.0, backlogs=(50_000,), flood=3_000, pixel_events=200_000)
