"""Judges a run by its history alone, as Jepsen does: which promise was broken, and by which message. No I/O."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.facts import Facts, grouped
from tests.chaos.history import History, Run, Sighting, Stored
from tests.chaos.topics import TOPICS, Kind

_FINAL = ("completed", "failed")
_MOST_STARTS = 8
"""Of a message that kills: one, two before it is suspected, three alone, and two where copies come another way."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise. `rule` is the name of the function that found it."""

    rule: str
    message: str


Rule = Callable[[Facts], Iterator[str]]


def violations(history: History, topics: Mapping[str, Kind] = TOPICS) -> list[Violation]:
    """Every broken promise of a run, rule by rule; nothing is what a run wants."""
    facts = Facts(history, topics)
    return [Violation(rule.__name__, message) for rule in RULES for message in rule(facts)]


def lost(facts: Facts) -> Iterator[str]:
    """Every message has an effect, or a row in `failed`, unless it is still waiting."""
    for message_id in (
        facts.work.keys() - facts.effects.keys() - facts.failed.keys() - facts.history.left.keys()
    ):
        yield f"{facts.told(message_id)} was accepted and is gone without effect"


def doubled(facts: Facts) -> Iterator[str]:
    """No message has two effects."""
    for message_id, number in facts.effects.items():
        if number > 1:
            yield f"{facts.told(message_id)} has {number} effects"


def done_and_failed(facts: Facts) -> Iterator[str]:
    """A message ends once: in `history` with its effect, or in `failed`, or not yet."""
    places = [facts.ended.keys(), facts.failed.keys(), facts.history.left.keys()]
    for message_id, number in Counter(message_id for place in places for message_id in place).items():
        if number > 1:
            yield f"{facts.told(message_id)} is in {number} of history, failed and the outbox"
    for message_id in facts.effects.keys() - facts.ended.keys():
        yield f"{facts.told(message_id)} has an effect and did not end with it"


def wrongly_failed(facts: Facts) -> Iterator[str]:
    """A message is given up for the reason that its handler gives, and only then."""
    for message_id, failed in facts.failed.items():
        kind = facts.work.get(message_id)
        if kind is None or kind.reason != failed.reason:
            yield f"{facts.told(message_id)} was given up as {failed.reason}: {failed.error}"


def wrongly_ended(facts: Facts) -> Iterator[str]:
    """History says `completed`, and that only of messages whose handler ends well."""
    for message_id, ended in facts.ended.items():
        kind = facts.work.get(message_id)
        if kind is None or kind.reason is not None or ended.outcome != "completed":
            yield f"{facts.told(message_id)} should not have ended so"


def effect_of_a_failure(facts: Facts) -> Iterator[str]:
    """What a handler wrote before it raised is not there."""
    for message_id in facts.effects:
        kind = facts.work.get(message_id)
        if kind is not None and kind.reason is not None:
            yield f"{facts.told(message_id)} has an effect although its handler raised"


def two_ids(facts: Facts) -> Iterator[str]:
    """A webhook id is answered with one message id, and stored once."""
    stored = grouped((row for row in facts.history.stored if row.key), lambda row: row.key or "")
    for webhook_id in facts.requests.keys() | stored.keys():
        answered = {r.message_id for r in facts.requests.get(webhook_id, ()) if r.message_id is not None}
        ids = answered | {row.message_id for row in stored.get(webhook_id, ())}
        if len(ids) > 1:
            yield f"webhook {webhook_id} became the messages {', '.join(sorted(ids))}"


def unasked(facts: Facts) -> Iterator[str]:
    """Nothing is stored or done that nobody sent, that was refused for good, or that an undone handler emitted."""
    for message_id, stored in facts.stored.items():
        if why := _why_unasked(facts, stored):
            yield f"{facts.told(message_id)} is stored, but {why}"
    for effect in facts.history.effects:
        kind = facts.work.get(effect.message_id)
        if effect.message_id not in facts.stored:
            yield f"{facts.told(effect.message_id)} has an effect, but is not stored"
        elif kind is not None and kind.handler != effect.handler:
            yield f"{facts.told(effect.message_id)} has an effect of the handler {effect.handler}"


def _why_unasked(facts: Facts, stored: Stored) -> str | None:
    if stored.root is not None:
        return None if stored.root in facts.ended else f"{stored.root}, which emitted it, did not end well"
    requests = facts.requests.get(stored.key or "", [])
    if not requests:
        return "nobody sent it"
    if any(request.forged for request in requests):
        return "its signature was wrong"
    if all(request.outcome == "fail" for request in requests):
        return "it was refused"
    return None if requests[0].shop == stored.shop else f"{requests[0].shop} sent it, not {stored.shop}"


def ran_unasked(facts: Facts) -> Iterator[str]:
    """No handler runs on a message that is not stored: what it does outside could not be taken back."""
    for run in facts.history.runs:
        if run.message_id not in facts.stored:
            yield f"{run.handler} ran in {run.process} on {run.message_id}, which is not stored"


def worked_twice(facts: Facts) -> Iterator[str]:
    """Where nothing was broken, no two processes work on one message at once."""
    runs = facts.history.runs if facts.history.undisturbed else ()
    for message_id, mine in grouped(runs, lambda run: run.message_id).items():
        for before, after in pairwise(mine):
            if after.began < before.last and after.process != before.process:
                yield f"{facts.told(message_id)} ran in {before.process} and in {after.process} at once"


def started_too_often(facts: Facts) -> Iterator[str]:
    """A message that kills its worker is found out."""
    for message_id, number in Counter(run.message_id for run in facts.history.runs).items():
        kind = facts.work.get(message_id)
        if kind is not None and kind.reason == "poison" and number > _MOST_STARTS:
            yield f"{facts.told(message_id)} was started {number} times"


def emitted(facts: Facts) -> Iterator[str]:
    """A chain that ended emitted exactly one message."""
    links = Counter(stored.root for stored in facts.history.stored if stored.root is not None)
    for message_id in facts.ended:
        if facts.work.get(message_id) == TOPICS["chaos/chain"] and links[message_id] != 1:
            yield f"{facts.told(message_id)} emitted {links[message_id]} messages"


def never_accepted(facts: Facts) -> Iterator[str]:
    """A delivery that is sent again and again is accepted, and a forged one never."""
    for webhook_id, requests in facts.requests.items():
        accepted = any(request.outcome == "ok" for request in requests)
        if requests[0].forged == accepted:
            yield f"webhook {webhook_id} was {'forged and accepted' if accepted else 'never accepted'}"


def not_stored(facts: Facts) -> Iterator[str]:
    """What was answered with 200 is in `messages`, under the webhook id that it was sent with."""
    answered = {(r.message_id, r.webhook_id) for r in facts.history.requests if r.message_id is not None}
    for message_id, webhook_id in sorted(answered):
        stored = facts.stored.get(message_id)
        if stored is None:
            yield f"{facts.told(message_id)} was accepted and is not stored"
        elif stored.key != webhook_id:
            yield f"webhook {webhook_id} was answered with {facts.told(message_id)}, which is webhook {stored.key}"


def status_went_back(facts: Facts) -> Iterator[str]:
    """After completed or failed a status stays, attempts never get fewer, and a known message is never missing."""
    for message_id, seen in grouped(facts.history.sightings, lambda sighting: sighting.message_id).items():
        for before, after in pairwise(seen):
            if why := _why_back(before, after):
                yield f"{facts.told(message_id)} {why}"
        if any(sighting.status == "missing" for sighting in seen):
            yield f"{facts.told(message_id)} was accepted, and the API did not know it"


def _why_back(before: Sighting, after: Sighting) -> str | None:
    if before.status in _FINAL and after.status != before.status:
        return f"was {before.status}, and then {after.status}"
    if after.attempts < before.attempts and after.status != "missing":
        return f"had {before.attempts} attempts, and then {after.attempts}"
    return None


def status_untrue(facts: Facts) -> Iterator[str]:
    """A message that was seen as completed or failed is in `history`, or in `failed`."""
    places: Mapping[str, Mapping[str, object]] = {"completed": facts.ended, "failed": facts.failed}
    for message_id, status in dict.fromkeys((s.message_id, s.status) for s in facts.history.sightings):
        if status in places and message_id not in places[status]:
            yield f"{facts.told(message_id)} was seen as {status} and is not"


def limit_exceeded(facts: Facts) -> Iterator[str]:
    """At no instant do more handlers run for one shop than `per_shop` allows, over all processes."""
    limited = (run for run in facts.history.runs if run.handler in facts.history.limits)
    for (handler, shop), runs in grouped(limited, lambda run: (run.handler, run.shop)).items():
        for together in _crowds(runs, facts.history.limits[handler]):
            who = ", ".join(f"{r.message_id} in {r.process} {r.began:.3f} to {r.last:.3f}" for r in together)
            yield f"{handler} ran {len(together)} times at once for {shop}: {who}"


def _crowds(runs: Iterable[Run], limit: int) -> Iterator[list[Run]]:
    """Runs that went on at one instant where they were more than `limit`; one that ends there has ended."""
    going: list[Run] = []
    for run in sorted(runs, key=lambda run: run.began):
        going = [other for other in going if other.last > run.began]
        if run.last > run.began:
            going.append(run)
        if len(going) > limit and going[-1] is run:
            yield list(going)


def attempt_used_up(facts: Facts) -> Iterator[str]:
    """Only a handler that raises uses up an attempt; an outage never does."""
    for message_id, ended in facts.ended.items():
        wanted = facts.work[message_id].failures if message_id in facts.work else 0
        if (ended.attempts, len(ended.log)) != (wanted + 1, wanted):
            yield f"{facts.told(message_id)} took {ended.attempts} attempts: {'; '.join(ended.log)}"
    for message_id, failed in facts.failed.items():
        if failed.attempts != 1:
            yield f"{facts.told(message_id)} took {failed.attempts} attempts: {failed.error}"


def left_over(facts: Facts) -> Iterator[str]:
    """After the drain nothing waits any more."""
    for message_id in facts.history.left:
        yield f"{facts.told(message_id)} was not done in time"


def part_failed(facts: Facts) -> Iterator[str]:
    """No process ends by itself, and none logs a traceback."""
    for trouble in facts.history.troubles:
        yield f"{trouble.process}: {trouble.text}"


RULES: tuple[Rule, ...] = (
    lost, doubled, done_and_failed, wrongly_failed, wrongly_ended, effect_of_a_failure, two_ids, unasked, ran_unasked,
    worked_twice, started_too_often, emitted, never_accepted, not_stored, status_went_back, status_untrue,
    limit_exceeded, attempt_used_up, left_over, part_failed,
)  # fmt: skip
NAMES = tuple(rule.__name__ for rule in RULES)
