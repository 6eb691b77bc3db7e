"""Every rule of the checker reports a history that breaks it, and none reports a good one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.checker import NAMES, violations
from tests.chaos.history import (
    Effect,
    Ended,
    Failed,
    History,
    Request,
    Run,
    Sighting,
    Stored,
    Trouble,
)
from tests.chaos.topics import TOPICS

SHOP = "a.myshopify.com"
OTHER = "b.myshopify.com"


def request(name: str, topic: str, **changes: object) -> Request:
    """A delivery that was accepted as the message of the same name."""
    asked = Request(f"webhook-{name}", topic, SHOP, invoked=1.0, ended=1.1, outcome="ok", message_id=name)
    return replace(asked, **changes)  # type: ignore[arg-type]


def refused(name: str, **changes: object) -> Request:
    return request(name, "chaos/plain", **{"outcome": "fail", "message_id": None, **changes})


def stored(name: str, topic: str = "chaos/plain", **changes: object) -> Stored:
    row = Stored(name, "webhooks", f"webhook.{topic.replace('/', '.')}", SHOP, key=f"webhook-{name}")
    return replace(row, **changes)  # type: ignore[arg-type]


def link(name: str, root: str) -> Stored:
    return Stored(name, "worker", "chaos.link", SHOP, key=None, root=root)


def effect(name: str, handler: str = "plain", root: str | None = None) -> Effect:
    return Effect(name, handler, root or name, at=2.0)


def ended(name: str, **changes: object) -> Ended:
    row = Ended(name, "webhook.chaos.plain", "completed", 1, "rabbitmq", log=(), at=2.0)
    return replace(row, **changes)  # type: ignore[arg-type]


def failed(name: str, reason: str, attempts: int = 1) -> Failed:
    return Failed(name, reason, "on purpose", attempts)


def run(
    process: str, began: float, last: float, *, name: str = "plain", handler: str = "slow", shop: str = SHOP
) -> Run:
    return Run(name, handler, shop, process, began, last)


def seen(name: str, *statuses: str, attempts: int = 0) -> tuple[Sighting, ...]:
    return tuple(Sighting(name, status, attempts, at=float(at)) for at, status in enumerate(statuses))


GOOD = History(
    requests=(
        request("plain", "chaos/plain", outcome="unknown", ended=None, message_id=None),
        request("plain", "chaos/plain"),
        request("plain", "chaos/plain"),
        request("again", "chaos/again"),
        request("chain", "chaos/chain"),
        request("refused", "chaos/refused"),
        request("raises", "chaos/raises"),
        refused("late"),
        request("late", "chaos/plain"),
        refused("forged", forged=True),
    ),
    stored=(
        stored("plain"),
        stored("again", "chaos/again"),
        stored("chain", "chaos/chain"),
        stored("refused", "chaos/refused"),
        stored("raises", "chaos/raises"),
        stored("late"),
        link("link", "chain"),
    ),
    effects=(
        effect("plain"),
        effect("again", "again"),
        effect("chain", "chain"),
        effect("link", "link", root="chain"),
        effect("late"),
    ),
    ended=(
        ended("plain"),
        ended("again", attempts=2, log=("on purpose",), route="postgres"),
        ended("chain"),
        ended("link", type="chaos.link"),
        ended("late"),
    ),
    failed=(failed("refused", "never"), failed("raises", "exhausted")),
    runs=(
        run("worker0", 1.0, 2.0),
        run("worker1", 1.5, 2.5),
        run("worker0", 2.0, 3.0),
        run("worker0", 1.0, 3.0, shop=OTHER),
        *(run(f"worker{n}", 1.0, 3.0, handler="plain") for n in range(5)),
    ),
    sightings=(
        *seen("plain", "queued", "processing", "pending", "queued", "completed", "completed", attempts=1),
        *seen("refused", "queued", "failed", "failed", attempts=1),
        *seen("again", "queued", attempts=0),
        *seen("again", "pending", attempts=1),
        *seen("again", "completed", attempts=2),
    ),
    limits={"slow": 2},
)
"""Answers that never came, repeats, attempts that fail, both routes, and as many runs as the limit allows."""


def adding(**more: object) -> Callable[[], History]:
    """The good history with more in it."""

    def history() -> History:
        together = {name: (*getattr(GOOD, name), *added) for name, added in more.items()}  # type: ignore[misc]
        return replace(GOOD, **together)  # type: ignore[arg-type]

    return history


def without(name: str, *kinds: str) -> Callable[[], History]:
    """The good history without what some of its kinds know of one message."""

    def history() -> History:
        rest = {
            kind: tuple(item for item in getattr(GOOD, kind) if item.message_id != name) for kind in kinds
        }
        return replace(GOOD, **rest)  # type: ignore[arg-type]

    return history


def killing() -> History:
    """A good history but for a message that nobody gives up."""
    runs = [run("worker0", float(at), float(at), name="killer", handler="poison") for at in range(9)]
    known = adding(requests=[request("killer", "chaos/poison")], stored=[stored("killer", "chaos/poison")])
    return replace(known(), runs=(*GOOD.runs, *runs))


BAD: list[tuple[str, Callable[[], History], str]] = [
    ("lost", without("plain", "effects", "ended"), "plain (plain) was accepted and is gone"),
    (
        "lost",
        without("plain", "effects"),
        "plain (plain, ended by rabbitmq as completed) was accepted and is gone",
    ),
    ("lost", without("raises", "failed"), "raises (raises) was accepted and is gone"),
    ("lost", without("link", "effects", "ended"), "link (link) was accepted and is gone"),
    ("lost", adding(stored=[stored("silent")], requests=[refused("silent", outcome="unknown")]), "silent"),
    (
        "doubled",
        adding(effects=[effect("plain")]),
        "plain (plain, ended by rabbitmq as completed) has 2 effects",
    ),
    ("doubled", adding(effects=[effect("link", "link")]), "link"),
    ("done_and_failed", adding(failed=[failed("plain", "never")]), "plain"),
    ("done_and_failed", lambda: replace(GOOD, left={"plain": "outbox"}), "is in 2 of"),
    ("done_and_failed", without("plain", "ended"), "has an effect and did not end with it"),
    ("wrongly_failed", adding(failed=[failed("late", "exhausted")]), "was given up as exhausted: on purpose"),
    ("wrongly_failed", adding(failed=[failed("refused", "exhausted")]), "refused"),
    ("wrongly_failed", adding(failed=[failed("stranger", "poison")]), "stranger (unknown)"),
    ("wrongly_ended", adding(ended=[ended("refused")]), "refused"),
    ("wrongly_ended", adding(ended=[ended("late", outcome="unhandled")]), "late"),
    ("effect_of_a_failure", adding(effects=[effect("raises", "raises")]), "raises"),
    ("effect_of_a_failure", adding(effects=[effect("refused", "refused")]), "refused"),
    ("two_ids", adding(requests=[request("plain", "chaos/plain", message_id="twin")]), "plain, twin"),
    ("two_ids", adding(stored=[stored("twin", key="webhook-plain")]), "became the messages plain, twin"),
    ("unasked", adding(effects=[effect("ghost")]), "ghost (unknown) has an effect, but is not stored"),
    ("unasked", adding(stored=[stored("ghost")]), "nobody sent it"),
    ("unasked", adding(stored=[stored("forged")]), "its signature was wrong"),
    ("unasked", adding(stored=[stored("no")], requests=[refused("no")]), "it was refused"),
    ("unasked", adding(stored=[link("orphan", "refused")]), "refused, which emitted it, did not end well"),
    ("unasked", adding(stored=[stored("away", shop=OTHER)], requests=[request("away", "chaos/plain")]), SHOP),
    ("unasked", adding(effects=[effect("plain", "slow")]), "has an effect of the handler slow"),
    ("emitted", without("link", "stored", "effects", "ended"), "emitted 0 messages"),
    ("emitted", adding(stored=[link("second", "chain")]), "emitted 2 messages"),
    ("never_accepted", adding(requests=[refused("no")]), "webhook webhook-no was never accepted"),
    (
        "never_accepted",
        adding(requests=[request("forged", "chaos/plain", forged=True)]),
        "forged and accepted",
    ),
    ("not_stored", without("plain", "stored"), "plain"),
    (
        "not_stored",
        adding(requests=[request("other", "chaos/plain", message_id="plain")]),
        "webhook webhook-other was answered with plain",
    ),
    (
        "status_went_back",
        adding(sightings=seen("late", "completed", "queued")),
        "was completed, and then queued",
    ),
    (
        "status_went_back",
        adding(sightings=seen("late", "failed", "completed")),
        "was failed, and then completed",
    ),
    (
        "status_went_back",
        adding(sightings=seen("again", "completed", attempts=1)),
        "had 2 attempts, and then 1",
    ),
    ("status_went_back", adding(sightings=seen("late", "missing")), "did not know it"),
    ("status_untrue", adding(sightings=seen("refused", "completed")), "was seen as completed and is not"),
    ("status_untrue", adding(sightings=seen("late", "failed")), "was seen as failed and is not"),
    ("ran_unasked", adding(runs=[run("worker0", 1.0, 1.0, name="ghost")]), "slow ran in worker0 on ghost"),
    ("worked_twice", lambda: replace(GOOD, undisturbed=True), "ran in worker0 and in worker1 at once"),
    ("started_too_often", killing, "killer (poison) was started 9 times"),
    ("limit_exceeded", adding(runs=[run("worker1", 1.9, 2.1)]), f"slow ran 3 times at once for {SHOP}"),
    ("limit_exceeded", adding(runs=[run("worker1", 0.5, 9.0)]), "plain in worker1 0.500 to 9.000"),
    (
        "attempt_used_up",
        adding(ended=[ended("late", attempts=2, log=("timeout",))]),
        "took 2 attempts: timeout",
    ),
    ("attempt_used_up", adding(ended=[ended("again", attempts=1)]), "again"),
    (
        "attempt_used_up",
        adding(failed=[failed("refused", "never", attempts=2)]),
        "took 2 attempts: on purpose",
    ),
    ("left_over", lambda: replace(GOOD, left={"waits": "scheduled: retry"}), "scheduled: retry"),
    ("part_failed", adding(troubles=[Trouble("worker0", "ended by itself")]), "worker0: ended by itself"),
]


def test_a_good_history_breaks_no_rule() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "history", "said"), BAD, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_rule_reports_what_breaks_it(rule: str, history: Callable[[], History], said: str) -> None:
    assert said in "\n".join(found.message for found in violations(history()) if found.rule == rule)


def test_every_rule_is_shown_to_work() -> None:
    assert {rule for rule, _, _ in BAD} == set(NAMES)


def test_what_waits_is_not_lost() -> None:
    waiting = replace(without("plain", "effects", "ended")(), left={"plain": "outbox of webhooks, free"})
    assert {found.rule for found in violations(waiting)} == {"left_over", "status_untrue"}


def test_a_run_that_ends_at_an_instant_makes_room_at_it() -> None:
    ends = History(runs=tuple(run("worker0", at, at + 1.0) for at in range(20)), limits={"slow": 1})
    assert "limit_exceeded" not in {found.rule for found in violations(ends)}


def test_one_crowd_is_reported_once_for_each_run_that_makes_it() -> None:
    crowd = History(runs=tuple(run(f"worker{n}", 1 + n / 10, 5.0) for n in range(4)), limits={"slow": 2})
    found = [found for found in violations(crowd) if found.rule == "limit_exceeded"]
    assert [violation.message.split(":")[0] for violation in found] == [
        f"slow ran 3 times at once for {SHOP}",
        f"slow ran 4 times at once for {SHOP}",
    ]


@pytest.mark.parametrize("topic", [topic for topic, kind in TOPICS.items() if kind.reason is None])
def test_every_handler_that_ends_well_needs_its_own_effect(topic: str) -> None:
    kind = TOPICS[topic]
    accepted = History(requests=(request("one", topic),), stored=(stored("one", topic),))
    assert "lost" in {found.rule for found in violations(accepted)}
    other = replace(
        accepted, effects=(effect("one", "another"),), ended=(ended("one", attempts=kind.failures + 1),)
    )
    assert "unasked" in {found.rule for found in violations(other)}
