"""What to do so that a shop's subscriptions are the wanted ones. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from libs.common.contracts.subscriptions import LEFT_ALONE, Wanted, enum_of
from services.webhooks.metrics import KNOWN_TOPICS

_BY_ENUM = {enum_of(topic): topic for topic in KNOWN_TOPICS}


class State(StrEnum):
    """How a topic, or a subscription that nobody wants, stands after a check."""

    OK = "ok"
    MISSING = "missing"
    DIFFERS = "differs"
    STRANGER = "stranger"
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Actual:
    """A subscription as Shopify tells it."""

    id: str
    topic: str
    uri: str
    filter: str = ""
    include_fields: tuple[str, ...] = ()
    format: str = "JSON"

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> "Actual":
        name = str(node["topic"])
        return cls(
            str(node["id"]), _BY_ENUM.get(name, name), str(node["uri"]), node.get("filter") or "",
            tuple(node.get("includeFields") or ()), str(node.get("format") or "JSON"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One topic with what is wanted, or one subscription that is not."""

    topic: str
    state: State  # before anything is done
    wanted: Wanted | None = None
    actual: Actual | None = None

    @property
    def identifier(self) -> str:
        return self.actual.id if self.actual else ""


def plan(
    wanted: Sequence[Wanted], actual: Sequence[Actual], uri: str, left_alone: Sequence[str] = LEFT_ALONE
) -> list[Step]:
    """A step for each wanted topic and for each stranger, in an order that can be carried out."""
    ours = [one for one in actual if not one.uri.startswith(tuple(left_alone))]
    chosen = {one.topic: _best(one, ours, uri) for one in wanted}
    kept = {found.id for found in chosen.values() if found}
    strangers = [Step(one.topic, State.STRANGER, actual=one) for one in ours if one.id not in kept]
    return [*strangers, *(_step(one, chosen[one.topic], uri) for one in wanted)]


def subscription(wanted: Wanted, uri: str) -> dict[str, Any]:
    """The WebhookSubscriptionInput of a topic. Empty values are named, so that an update takes old ones away."""
    return {
        "uri": uri, "format": "JSON", "filter": wanted.filter, "includeFields": list(wanted.include_fields),
    }  # fmt: skip


def fingerprint(wanted: Wanted, uri: str, scopes: frozenset[str]) -> str:
    """The same as long as asking again would bring the same refusal."""
    return orjson.dumps([subscription(wanted, uri), sorted(scopes)], option=orjson.OPT_SORT_KEYS).decode()


def _step(wanted: Wanted, found: Actual | None, uri: str) -> Step:
    state = State.MISSING if found is None else State.OK if _same(wanted, found, uri) else State.DIFFERS
    return Step(wanted.topic, state, wanted, found)


def _best(wanted: Wanted, ours: Sequence[Actual], uri: str) -> Actual | None:
    """The one that is right already, else the one at our address, else any of the topic."""
    candidates = [one for one in ours if one.topic == wanted.topic]
    return min(candidates, key=lambda one: (not _same(wanted, one, uri), one.uri != uri), default=None)


def _same(wanted: Wanted, found: Actual, uri: str) -> bool:
    fields = set(found.include_fields) == set(wanted.include_fields)
    return fields and (found.uri, found.filter, found.format) == (uri, wanted.filter, "JSON")
