"""A schedule: what happens to a world, step by step. It can be drawn, shrunk, printed, kept and replayed."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.chaos.checker import Violation
from tests.chaos.history import Sighting
from tests.simulation.judge import judge, sightings
from tests.simulation.world import DRAIN_SECONDS, World

Step = tuple[str | float | None, ...]
"""The name of one of the steps of `World`, and its arguments."""


_HARMLESS = {"accept", "repeat", "advance"}
# A worker that comes back after it takes what RabbitMQ has for more than a second, which another one may be at.
_KILLER = "chaos/poison"


@dataclass(slots=True)
class Schedule:
    """Everything that a run depends on. Its `repr` is the code that makes it again."""

    seed: int
    profile: str = "calm"
    steps: list[Step] = field(default_factory=list)

    @property
    def undisturbed(self) -> bool:
        """Whether it breaks nothing, and nothing is slow enough to look broken."""
        return self.profile != "slow" and all(
            step[0] in _HARMLESS and _KILLER not in step for step in self.steps
        )

    def __str__(self) -> str:
        steps = "".join(f"        {step!r},\n" for step in self.steps)
        return f"Schedule(\n    {self.seed}, {self.profile!r},\n    [\n{steps}    ],\n)"


class Run:
    """A world under a schedule that may still be growing."""

    def __init__(self, seed: int, profile: str) -> None:
        self.schedule = Schedule(seed, profile)
        self.world = World(seed, profile)
        self._seen: list[Sighting] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.close()

    def do(self, *step: str | float | None) -> None:
        """One step more."""
        self.schedule.steps.append(step)
        name, *arguments = step
        getattr(self.world, str(name))(*arguments)
        self._seen += sightings(self.world)

    def finish(self, drain_seconds: float = DRAIN_SECONDS) -> list[Violation]:
        """Heals the world, lets it come to rest, and judges it."""
        self.world.finish(drain_seconds)
        self._seen += sightings(self.world)
        return judge(self.world, self._seen, undisturbed=self.schedule.undisturbed)


def replay(schedule: Schedule) -> list[Violation]:
    """Runs a schedule from its beginning to its end."""
    with Run(schedule.seed, schedule.profile) as run:
        for step in schedule.steps:
            run.do(*step)
        return run.finish()
