"""Connections: pages of a list, and cursors that belong to the list's order and search."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from graphql import GraphQLError

from services.sandbox.admin_api.values import bad_request
from services.sandbox.scene import Json
from services.sandbox.store import Place

MOST = 250
Item = TypeVar("Item")
Make = Callable[[Item], Json]


@dataclass(frozen=True, slots=True)
class Cursors:
    """Writes and reads the cursors of one order and search; those of another are refused."""

    bound: str

    @classmethod
    def of(cls, *facts: object) -> "Cursors":
        return cls(hashlib.blake2s(repr(facts).encode(), digest_size=4).hexdigest())

    def write(self, place: Place) -> str:
        facts = {"last_id": place.id, "last_value": place.value, "bound": self.bound}
        return b64encode(orjson.dumps(facts)).decode()

    def read(self, text: str | None) -> Place | None:
        if text is None:
            return None
        try:
            facts = orjson.loads(b64decode(text, validate=True))
            place, bound = Place(int(facts["last_value"]), int(facts["last_id"])), facts["bound"]
        except (ValueError, KeyError, TypeError):
            raise GraphQLError("Invalid cursor.", extensions={"code": "INVALID_CURSOR"}) from None
        if bound != self.bound:
            raise GraphQLError(
                "Invalid cursor for current pagination sort.", extensions={"code": "INVALID_CURSOR"}
            )
        return place


def size(arguments: Mapping[str, Any]) -> int:
    """How many are asked for."""
    first = arguments.get("first")
    if first is None:
        raise bad_request("you must provide one of first or last")
    if not 0 < first <= MOST:
        raise bad_request(f"first must be between 1 and {MOST}")
    return int(first)


def connection(
    found: Sequence[Item],
    limit: int,
    *,
    make: Make[Item],
    cursor: Callable[[Item], str],
    later: bool,
) -> Json:
    """A page of `found`, which has one more where there is a next page."""
    page = found[:limit]
    edges = [{"cursor": cursor(item), "node": make(item)} for item in page]
    return {
        "nodes": [edge["node"] for edge in edges],
        "edges": edges,
        "pageInfo": {
            "hasNextPage": len(found) > limit,
            "hasPreviousPage": later,
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
        },
    }


class Listed:
    """A connection over a list that is in memory: the lines of an order, the variants of a product.

    Called as a field with arguments it gives a page; a bulk operation takes all of it.
    """

    __slots__ = ("items", "make")

    def __init__(self, items: Sequence[Any], make: Callable[[Any], Json]) -> None:
        self.items = items
        self.make = make

    def __call__(self, _: object, **arguments: Any) -> Json:
        cursors, limit = Cursors.of("listed"), size(arguments)
        after = cursors.read(arguments.get("after"))
        start = after.value + 1 if after else 0
        numbered = list(enumerate(self.items))[start : start + limit + 1]
        return connection(
            numbered,
            limit,
            make=lambda pair: self.make(pair[1]),
            cursor=lambda pair: cursors.write(Place(pair[0], pair[0])),
            later=start > 0,
        )
