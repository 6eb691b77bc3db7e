"""What goes wrong between a process and Postgres, planned ahead: the n-th statement of a kind from now meets it."""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Happening = Literal["lost", "hang"]


class When(StrEnum):
    """Before a statement was done, or after it was and before anybody was told."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(slots=True)
class _Plan:
    when: When
    statement: str | None  # None is any
    left: int
    happening: Happening


class DatabaseFaults:
    """Asked by the database model around each statement."""

    def __init__(self) -> None:
        self._plans: dict[str, list[_Plan]] = defaultdict(list)

    def plan(self, process: str, when: When, statement: str | None, count: int, happening: Happening) -> None:
        """The `count`-th such statement of a process loses its connection, or is never answered."""
        self._plans[process].append(_Plan(when, statement, count, happening))

    def clear(self) -> None:
        self._plans.clear()

    def before(self, process: str, statement_name: str) -> Happening | None:
        return self._meet(process, When.BEFORE, statement_name)

    def after(self, process: str, statement_name: str) -> Happening | None:
        return self._meet(process, When.AFTER, statement_name)

    def _meet(self, process: str, when: When, statement: str) -> Happening | None:
        for plan in self._plans.get(process, ()):
            if plan.when is when and plan.statement in (None, statement):
                plan.left -= 1
                if plan.left <= 0:
                    self._plans[process].remove(plan)
                    return plan.happening
        return None
