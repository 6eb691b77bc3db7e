"""A run's history by message, for the rules that judge it. No I/O."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from tests.chaos.history import Ended, Failed, History, Request, Stored
from tests.chaos.topics import LINK, Kind

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Facts:
    """The history by message id."""

    history: History
    topics: Mapping[str, Kind]

    @cached_property
    def work(self) -> dict[str, Kind]:
        """What has to become of each message: those answered with 200, and all that are stored."""
        accepted = {
            r.message_id: self.topics[r.topic] for r in self.history.requests if r.message_id is not None
        }
        asked = {r.webhook_id: self.topics[r.topic] for r in self.history.requests}
        known = {s.message_id: asked[s.key] for s in self.history.stored if s.key and s.key in asked}
        return {
            **accepted,
            **known,
            **{s.message_id: LINK for s in self.history.stored if s.root is not None},
        }

    @cached_property
    def stored(self) -> dict[str, Stored]:
        return {stored.message_id: stored for stored in self.history.stored}

    @cached_property
    def effects(self) -> Counter[str]:
        return Counter(effect.message_id for effect in self.history.effects)

    @cached_property
    def ended(self) -> dict[str, Ended]:
        return {ended.message_id: ended for ended in self.history.ended}

    @cached_property
    def failed(self) -> dict[str, Failed]:
        return {failed.message_id: failed for failed in self.history.failed}

    @cached_property
    def requests(self) -> dict[str, list[Request]]:
        """By webhook id."""
        return grouped(self.history.requests, lambda request: request.webhook_id)

    def told(self, message_id: str) -> str:
        """A message for people: its id, its handler, and what is known of it."""
        kind, ended = self.work.get(message_id), self.ended.get(message_id)
        story = (
            f"ended by {ended.route} as {ended.outcome}" if ended else self.history.left.get(message_id, "")
        )
        return f"{message_id} ({', '.join(filter(None, (kind.handler if kind else 'unknown', story)))})"


def grouped(values: Iterable[V], key: Callable[[V], K]) -> dict[K, list[V]]:
    """Values by their key, in the order they came."""
    groups: dict[K, list[V]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return groups
