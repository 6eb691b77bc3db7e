"""The file of a bulk operation, read from its bytes: lines, and objects with what belongs to them. No I/O.

Shopify writes one JSON object a line. With `groupObjects` the children of an object follow it at once and name it as
their `__parentId`, so that one object at a time is in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from libs.common.errors import ShopbusError

LONGEST_LINE = 8 * 1024 * 1024
LARGEST_OBJECT = (
    8 * 1024 * 1024
)  # with its children; an order has 500 lines at most, a product 2,048 variants


class BadFile(ShopbusError):
    """The file is not what a bulk operation writes; reading it again would not help."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and the place in the file where the next one begins."""

    text: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An object with its children."""

    gid: str
    body: bytes
    end: int  # the place in the file behind the last of its lines
    lines: int


class Lines:
    """Cuts what arrives into lines, from a place in the file on."""

    def __init__(self, position: int) -> None:
        self._position, self._rest = position, b""

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that are complete now; raises `BadFile` for one that never ends."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise BadFile(f"a line of the file is longer than {LONGEST_LINE} bytes")
        for text in whole:
            self._position += len(text) + 1
            if text:
                yield Line(text, self._position)

    def end(self) -> Iterator[Line]:
        """The last line, where no line break follows it."""
        if self._rest:
            yield Line(self._rest, self._position + len(self._rest))


class Families:
    """Joins children to the object before them."""

    def __init__(self, children: str) -> None:
        self._children = children
        self._parent: dict[str, Any] | None = None
        self._end = self._lines = self._size = 0

    def add(self, line: Line) -> Entry | None:
        """The object that this line shows to be complete; raises `BadFile`."""
        node = _node(line.text)
        parent = node.pop("__parentId", None)
        done = None
        if parent is None:
            done = self.end()
            self._begin(node)
        elif self._parent is not None and self._parent["id"] == parent:
            self._parent[self._children].append(node)
        else:
            raise BadFile(f"the parent of a line is not the object before it: {str(parent)[:80]!r}")
        self._count(line)
        return done

    def end(self) -> Entry | None:
        """The object in hand, which has no further children."""
        if self._parent is None:
            return None
        entry = Entry(self._parent["id"], orjson.dumps(self._parent), self._end, self._lines)
        self._parent = None
        return entry

    def _begin(self, node: dict[str, Any]) -> None:
        if not isinstance(node.get("id"), str):
            raise BadFile("an object of the file has no id")
        node[self._children] = []
        self._parent, self._lines, self._size = node, 0, 0

    def _count(self, line: Line) -> None:
        self._end, self._lines, self._size = line.end, self._lines + 1, self._size + len(line.text)
        if self._size > LARGEST_OBJECT:
            raise BadFile(f"an object of the file is larger than {LARGEST_OBJECT} bytes")


def _node(text: bytes) -> dict[str, Any]:
    try:
        node = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadFile("a line of the file is not JSON") from None
    if not isinstance(node, dict):
        raise BadFile("a line of the file is not an object")
    return node
