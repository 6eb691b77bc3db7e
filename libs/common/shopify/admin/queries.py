"""What can be seen of a query before it is sent: whether it changes something, its name, and what it will cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

_COMMENTS_AND_TEXTS = re.compile(r'"""(?:.|\n)*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*')
_OPERATION = re.compile(r"\b(query|mutation|subscription)\b\s*([_A-Za-z][_0-9A-Za-z]*)?", re.ASCII)
_FRAGMENT = re.compile(r"\bfragment\b[^{]*\{", re.ASCII)
_MOST_LABELS = 200
_OTHER = "other"

KEY_VARIABLE = "idempotencyKey"
_UNSEEN = 100.0  # points for a query that was never asked before; the answer tells how it is
_MUTATION = 10.0  # points, by Shopify's own table


@dataclass(frozen=True, slots=True)
class Query:
    """A query's text, and what it says of itself."""

    text: str
    name: str
    mutates: bool

    @property
    def takes_key(self) -> bool:
        """Whether Shopify will know a repetition by its key."""
        return f"${KEY_VARIABLE}" in self.text and "@idempotent" in self.text


def read_query(text: str) -> Query:
    """The first operation counts: the client sends one at a time."""
    bare = _COMMENTS_AND_TEXTS.sub(" ", text)
    found = _OPERATION.search(bare)
    begins = bare.find("{")
    fragment = _FRAGMENT.search(bare)
    if found is None or (0 <= begins < found.start() and (fragment is None or fragment.start() > begins)):
        return Query(text, "anonymous_query", mutates=False)  # { shop { name } }
    kind = found[1]
    return Query(text, found[2] or f"anonymous_{kind}", mutates=kind == "mutation")


class Labels:
    """Names of operations as labels of metrics: so many, and the rest under one."""

    def __init__(self, most: int = _MOST_LABELS) -> None:
        self._known: set[str] = set()
        self._most = most

    def of(self, query: Query) -> str:
        if query.name in self._known:
            return query.name
        if len(self._known) >= self._most:
            return _OTHER
        self._known.add(query.name)
        return query.name


class Costs:
    """What each query was said to cost. Whole numbers among its variables, such as `first`, make it another one."""

    def __init__(self, size: int = 4_000) -> None:
        self._exact: LRUCache[object, float] = LRUCache(size)
        self._highest: LRUCache[str, float] = LRUCache(size)

    def expected(self, query: Query, variables: Mapping[str, Any]) -> float:
        """Points to set aside: what it cost last, else the most that its text ever cost."""
        known: float | None = self._exact.get(_likeness(query, variables))
        if known is None:
            known = self._highest.get(query.text)
        if known is None:
            return _MUTATION if query.mutates else _UNSEEN
        return known

    def learn(self, query: Query, variables: Mapping[str, Any], requested: float) -> None:
        self._exact[_likeness(query, variables)] = requested
        self._highest[query.text] = max(requested, self._highest.get(query.text, 0.0))


def _likeness(query: Query, variables: Mapping[str, Any]) -> object:
    sizes = ((name, value) for name, value in variables.items() if type(value) is int)
    return query.text, frozenset(sizes)
