"""What a run's history says about speed. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.checker import Violation
from tests.chaos.history import Effect, History
from tests.chaos.topics import PROMPT
from tests.chaos.traffic import Accepted


@dataclass(slots=True)
class Marks:
    """When the run came where, in seconds of the monotonic clock."""

    harming: float = 0.0
    harmed: float = 0.0
    healed: float = 0.0
    finished: float = 0.0  # no new traffic
    drained: float | None = None  # nothing left; None where that did not come about


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Times are in seconds; None where there is nothing to measure."""

    fault: str
    broker_only: bool
    deaths: int  # of workers
    settled: bool  # all traffic took RabbitMQ before the harm
    messages: int
    lost: int
    doubled: int
    violations: tuple[Violation, ...]
    longest_gap: float
    slowest: float
    switch_over: float | None
    switch_back: float | None
    drain: float | None
    story: str = ""

    def check(self) -> None:
        """Fails the test if a promise was broken."""
        if self.violations:
            raise AssertionError(self.story)


def row(
    name: str,
    history: History,
    accepted: Mapping[str, Accepted],
    marks: Marks,
    violations: Sequence[Violation],
    *,
    broker_only: bool,
    deaths: int,
    settled: bool,
    story: str,
) -> Row:
    """The figures of a run, of which `accepted` are the messages."""
    prompt = {message_id: given.at for message_id, given in accepted.items() if given.topic in PROMPT}
    effects = [effect for effect in history.effects if effect.message_id in prompt]
    routes = {ended.message_id: ended.route for ended in history.ended}

    def first(route: str, since: float) -> float | None:
        """Until the first effect by a route of a message that was accepted after a moment."""
        times = (
            effect.at - since
            for effect in effects
            if prompt[effect.message_id] > since and routes.get(effect.message_id) == route
        )
        return min(times, default=None)

    return Row(
        fault=name,
        broker_only=broker_only,
        deaths=deaths,
        settled=settled,
        messages=len(accepted),
        lost=_number(violations, "lost"),
        doubled=_number(violations, "doubled"),
        violations=tuple(violations),
        longest_gap=longest_gap(history.effects, marks.harming, marks.finished),
        slowest=max((effect.at - prompt[effect.message_id] for effect in effects), default=0.0),
        switch_over=first("postgres", marks.harmed),
        switch_back=first("rabbitmq", marks.healed),
        drain=None if marks.drained is None else marks.drained - marks.finished,
        story=story,
    )


def longest_gap(effects: Sequence[Effect], begin: float, end: float) -> float:
    """The longest time without an effect between two moments with traffic throughout."""
    moments = [begin, *sorted(effect.at for effect in effects if begin < effect.at < end), end]
    return max(after - before for before, after in pairwise(moments))


def _number(violations: Sequence[Violation], rule: str) -> int:
    return sum(violation.rule == rule for violation in violations)
