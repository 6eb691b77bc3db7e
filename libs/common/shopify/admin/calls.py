"""A call as it is sent, and what is remembered of those before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from cachetools import LRUCache

from libs.common.shopify.admin.costs import Cost
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.queries import KEY_VARIABLE, Costs, Labels, Query, read_query

_QUERIES = 1_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call for one shop."""

    shop: str
    query: Query
    label: str
    variables: Mapping[str, Any]
    lane: ApiLane
    body: bytes
    repeatable: bool  # whether doing it twice is the same as once
    may_lack: str | None = None  # a field that Shopify raises an error for where there is none


class Calls:
    """Makes calls, and knows what their queries have cost."""

    def __init__(self) -> None:
        self._queries: LRUCache[str, Query] = LRUCache(_QUERIES)
        self._labels, self._costs = Labels(), Costs()

    def make(
        self, shop: str, text: str, variables: Mapping[str, Any], lane: ApiLane, key: str | None,
        may_lack: str | None = None,
    ) -> Call:  # fmt: skip
        """Raises `ValueError` for a key that the query would not hand on: a repetition would not be known by it."""
        query = self._query(text)
        if key is not None:
            if not query.takes_key:
                raise ValueError(f"{query.name} has to hand ${KEY_VARIABLE} on to @idempotent(key: …)")
            variables = {**variables, KEY_VARIABLE: key}
        body = orjson.dumps({"query": text, "variables": variables}, default=_plain)
        repeatable = key is not None or not query.mutates
        return Call(shop, query, self._labels.of(query), variables, lane, body, repeatable, may_lack)

    def cost(self, call: Call) -> float:
        """Points to set aside."""
        return self._costs.expected(call.query, call.variables)

    def learn(self, call: Call, cost: Cost | None) -> None:
        if cost is not None:
            self._costs.learn(call.query, call.variables, cost.requested)

    def _query(self, text: str) -> Query:
        query: Query | None = self._queries.get(text)
        if query is None:
            query = self._queries[text] = read_query(text)
        return query


def _plain(value: object) -> str:
    """Money is a text to Shopify."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError
