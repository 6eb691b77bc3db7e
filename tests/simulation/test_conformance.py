"""The model of Postgres does what Postgres does."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.outbox import end_store
from tests.simulation.conformance_pair import SESSIONS, Step, pair
from tests.simulation.conformance_statements import CALLS, CONTENDED, beginning

_sessions = st.integers(0, SESSIONS - 1)
_ends = st.sampled_from((*["commit"] * 5, "rollback", "rollback", "give up", "die"))
_kinds = st.sampled_from((CALLS, CONTENDED, CONTENDED, _ends)).flatmap(lambda kind: kind)
_steps = st.builds(Step, _sessions, _kinds, in_block=st.sampled_from((True, True, False)))
_programs = st.lists(_steps, min_size=15, max_size=40)
_BEGINNING = [Step(0, call, in_block=False) for call in beginning()]


def _alike(url: str, examples: int, *, anew: bool) -> None:
    """Interleaves statements of several sessions, on both servers: as each time, or as never before."""
    with asyncio.Runner() as runner:
        opened = pair(url)
        both = runner.run(opened.__aenter__())

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=not anew,
            suppress_health_check=list(HealthCheck),
        )
        @given(_programs)
        def alike(program: list[Step]) -> None:
            runner.run(both.play([*_BEGINNING, *program]))

        try:
            alike()
        finally:
            runner.run(opened.__aexit__(None, None, None))
    waits = sum(number for name, number in both.seen.items() if name.startswith("waited in"))
    assert waits > examples / 20, f"the programs do not contend: {both.seen}"


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of a message's attempts are forgotten already after the first."""
    monkeypatch.setattr(end_store, "_LOGGED_ATTEMPTS", 1)


@pytest.mark.timeout(600)  # a failure is shrunk first
def test_interleaved_transactions_see_and_leave_the_same(database: str) -> None:
    _alike(database, 100, anew=False)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_interleaved_transactions_see_and_leave_the_same_for_long(database: str) -> None:
    _alike(database, 3_000, anew=True)
