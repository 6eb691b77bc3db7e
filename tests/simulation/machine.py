"""Draws schedules: hypothesis decides what happens next, and shrinks what fails."""

import sys
from collections.abc import Sequence
from typing import get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from libs.common.contracts.topology import Lane
from libs.common.outbox.faults import POINTS
from tests.chaos.checker import Violation
from tests.simulation.broker import Fate, Reach
from tests.simulation.faults import Happening, When
from tests.simulation.handlers import TOPICS
from tests.simulation.schedule import Run, Schedule, Step
from tests.simulation.world import DRAIN_SECONDS, NAMES, PROFILES, SHOPS, WEBHOOKS, WORKERS

# What a process may reach and say. The points of other programs' messages and of people are beyond the simulation.
_PRODUCING = POINTS[: POINTS.index("claimed, not relayed")]
_CONSUMING = POINTS[POINTS.index("redelivered, not taken over") : POINTS.index("replayed, not answered")]
_ACCEPTING = ("CONNECT", "PUT", "KNOWN", "COMMIT", "FREE", "NOTIFY")
_WORKING = (
    "CONNECT", "BEGIN", "COMMIT", "EFFECT", "PUT", "OCCUPIED", "CLAIM", "MOVE_DUE", "TAKE_OVER", "RENEW", "GIVE_BACK",
    "SUSPECT", "END_ONE", "END_MANY", "SCHEDULE", "FAIL", "slots.TAKE", "slots.RELEASE", "LISTEN", "WRITABLE",
    "FREE", "NOTIFY",
)  # fmt: skip
_TRANSACTION = ("BEGIN", "END_ONE", "EFFECT", "COMMIT")

names = st.sampled_from(NAMES)
topics = st.sampled_from(
    sorted(TOPICS.keys() - {"chaos/poison", "chaos/blocks"})
)  # nothing blocks in virtual time
bursts = st.tuples(
    st.one_of(st.lists(topics, min_size=2, max_size=5), topics.map(lambda topic: [topic] * 4)),
    st.sampled_from((0.0, 0.01, 0.1)),
)
"""Topics of webhooks, and the seconds between them."""
traps = st.one_of(
    st.tuples(st.just((WEBHOOKS,)), st.sampled_from(_PRODUCING), st.sampled_from(_ACCEPTING)),
    st.tuples(
        st.sampled_from([WORKERS, *((name,) for name in WORKERS)]),
        st.sampled_from(_CONSUMING + _PRODUCING),
        st.sampled_from(_WORKING + _TRANSACTION * 4),
    ),
)
"""Processes, a fault point and a statement that they may come to."""

Burst = tuple[list[str], float]
Trap = tuple[tuple[str, ...], str, str]


class BrokenPromises(AssertionError):
    """What the judge says of a schedule, with the schedule itself, ready to be kept in regressions.py."""

    def __init__(self, broken: Sequence[Violation], schedule: Schedule) -> None:
        told = "\n".join(f"{violation.rule}: {violation.message}" for violation in broken)
        super().__init__(f"{told}\n\n{schedule}")


class Machine(RuleBasedStateMachine):
    """One example is one world. It is judged when the example is over."""

    profile: str | None = None  # None is any
    drain_seconds = DRAIN_SECONDS
    judged = 0  # schedules since the start of the program

    run: Run | None = None
    poisoned = False

    def do(self, *step: str | float | None) -> None:
        assert self.run is not None
        if bent := self.bend(step):
            self.run.do(*bent)

    def bend(self, step: Step) -> Step | None:
        """What is done instead of a step; None is nothing."""
        return step

    def judge(self, broken: Sequence[Violation], schedule: Schedule) -> None:
        if broken:
            raise BrokenPromises(broken, schedule)

    @initialize(seed=st.integers(0, 2**32 - 1), profile=st.sampled_from(sorted(PROFILES)))
    def begin(self, seed: int, profile: str) -> None:
        self.run = Run(seed, self.profile or profile)
        self.do("advance", 0.5)

    @rule(topic=topics, shop=st.integers(0, len(SHOPS) - 1), number=st.integers(1, 6))
    def accept(self, topic: str, shop: int, number: int) -> None:
        self.do("accept", topic, shop, number)

    @rule(burst=bursts)
    def accept_some(self, burst: Burst) -> None:
        chosen, pause = burst
        for topic in chosen:
            self.do("accept", topic)
            self.do("advance", pause)

    @rule(topic=topics, delay=st.sampled_from((0.01, 1.0)))
    def accept_delayed(self, topic: str, delay: float) -> None:
        self.do("accept", topic, 0, 1, delay)

    @rule(topic=topics)
    def accept_twice(self, topic: str) -> None:
        self.do("accept", topic)
        self.do("repeat", 0)

    @precondition(lambda self: not self.poisoned)
    @rule()
    def accept_poison(self) -> None:
        """Once at most: it takes long until it has killed often enough."""
        self.poisoned = True
        self.do("accept", "chaos/poison")

    @rule(back=st.integers(0, 5))
    def repeat(self, back: int) -> None:
        self.do("repeat", back)

    @rule(seconds=st.sampled_from((0.003, 0.01, 0.05, 0.2, 0.5)))
    def moment(self, seconds: float) -> None:
        self.do("advance", seconds)

    @rule(seconds=st.sampled_from((0.5, 1.0, 3.0, 6.0)))
    def wait(self, seconds: float) -> None:
        self.do("advance", seconds)

    @rule(what=st.sampled_from(("kill", "freeze", "thaw", "start", "stop")), name=names)
    def process(self, what: str, name: str) -> None:
        self.do(what, name)

    @rule(what=st.sampled_from(("kill_at", "freeze_at")), trap=traps, count=st.integers(1, 2), burst=bursts)
    def at_point(self, what: str, trap: Trap, count: int, burst: Burst) -> None:
        for name in trap[0]:
            self.do(what, name, trap[1], count)
        self.accept_some(burst)

    @rule(name=names, offset=st.sampled_from((-300.0, -10.0, -2.0, 2.0, 10.0, 300.0)))
    def clock(self, name: str, offset: float) -> None:
        self.do("set_clock", name, offset)

    @rule(what=st.sampled_from(("block", "unblock", "crash_broker", "wipe_broker", "forget_acks")))
    def broker(self, what: str) -> None:
        self.do(what)

    @rule(lane=st.sampled_from((Lane.DEFAULT, Lane.OVERFLOW)))
    def delete_queue(self, lane: Lane) -> None:
        self.do("delete_queue", lane.value)

    @rule(how=st.sampled_from(Reach))
    def reach_all(self, how: Reach) -> None:
        self.do("reach_all", how.value)

    @rule(name=names, how=st.sampled_from(Reach))
    def reach(self, name: str, how: Reach) -> None:
        self.do("reach", name, how.value)

    @rule(name=names)
    def cut(self, name: str) -> None:
        self.do("cut", name)

    @rule(name=names, fates=st.lists(st.sampled_from(Fate), min_size=1, max_size=4), burst=bursts)
    def publishes(self, name: str, fates: list[Fate], burst: Burst) -> None:
        self.do("publishes", name, *(fate.value for fate in fates))
        self.accept_some(burst)

    @rule(seconds=st.sampled_from((0.1, 1.0, 5.0)), burst=bursts)
    def outage(self, seconds: float, burst: Burst) -> None:
        self.do("database_down")
        self.accept_some(burst)
        self.do("advance", seconds)
        self.do("database_up")

    @rule(what=st.sampled_from(("database_cut", "database_silence")), name=names)
    def database_connections(self, what: str, name: str) -> None:
        self.do(what, name)

    @rule(
        trap=traps, when=st.sampled_from(When), count=st.integers(1, 2), what=st.sampled_from(get_args(Happening)),
        burst=bursts,
    )  # fmt: skip
    def statement(self, trap: Trap, when: When, count: int, what: str, burst: Burst) -> None:
        for name in trap[0]:
            self.do("database_fault", name, when.value, trap[2], count, what)
        self.accept_some(burst)

    def teardown(self) -> None:
        if self.run is None:
            return
        with self.run as run:
            if sys.exc_info()[0] is None:  # otherwise hypothesis, or a step, has broken it off
                Machine.judged += 1
                self.judge(run.finish(self.drain_seconds), run.schedule)
