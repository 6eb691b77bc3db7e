"""What is on a store's shelves and in its books: one row each in a SQLite file, from which the rest is made up again.

Rows are small and indexed by every sort key, so that a shop may have hundreds of thousands of orders, none in memory.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.sandbox.search import LARGEST, Search

_TABLES = """
CREATE TABLE IF NOT EXISTS resources (
    shop TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, id INTEGER NOT NULL,
    topic TEXT NOT NULL, status TEXT NOT NULL, payment TEXT NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (shop, kind, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS resources_by_id ON resources (shop, kind, id);
CREATE INDEX IF NOT EXISTS resources_by_creation ON resources (shop, kind, created_at, id);
CREATE INDEX IF NOT EXISTS resources_by_update ON resources (shop, kind, updated_at, id);
"""

_PRAGMAS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF")  # made up again when a machine crashes


class SortKey(StrEnum):
    """What a list may be sorted by; ties go by id."""

    ID = "ID"
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"


@dataclass(frozen=True, slots=True)
class Row:
    """One resource. Its topic is the last one that told of it, and decides its state."""

    shop: str
    kind: str
    number: int
    id: int
    topic: str
    status: str
    payment: str
    created_at: int  # seconds since 1970
    updated_at: int

    def value(self, key: SortKey) -> int:
        """Where it stands in a list sorted by `key`."""
        if key is SortKey.ID:
            return self.id
        return self.created_at if key is SortKey.CREATED_AT else self.updated_at


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a sorted list: after the row with this value and id."""

    value: int
    id: int


class Shelves:
    """The file, opened."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
        for pragma in _PRAGMAS:
            self._database.execute(pragma)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is put within the block is there at once."""
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def put(self, rows: Iterable[Row]) -> None:
        """Adds rows, and replaces those that are there."""
        self._database.executemany(_PUT, map(astuple, rows))

    def remove(self, row: Row) -> None:
        """Marks a row as deleted: its number is never used again."""
        self._database.execute(_REMOVE, asdict(row))

    def by_id(self, shop: str, kind: str, identifier: int) -> Row | None:
        """The resource with an id, unless it was deleted."""
        return self._one(_BY_ID, {"shop": shop, "kind": kind, "id": identifier})

    def by_number(self, shop: str, kind: str, number: int) -> Row | None:
        """The resource with a number, unless it was deleted."""
        return self._one(_BY_NUMBER, {"shop": shop, "kind": kind, "number": number})

    def next_number(self, shop: str, kind: str) -> int:
        """The first number that was never used."""
        found = self._database.execute(_NEXT, {"shop": shop, "kind": kind}).fetchone()
        return int(found[0])

    def count(self, shop: str, kind: str, search: Search) -> int:
        """How many match."""
        found = self._database.execute(_COUNT, {"shop": shop, "kind": kind, **_bounds(search)}).fetchone()
        return int(found[0])

    def page(
        self,
        shop: str,
        kind: str,
        search: Search,
        *,
        key: SortKey,
        limit: int,
        after: Place | None = None,
        reverse: bool = False,
    ) -> list[Row]:
        """The next rows of a sorted list."""
        start = _start(search, key, after, reverse=reverse)
        parameters = {
            "shop": shop,
            "kind": kind,
            **_bounds(search),
            "value": start.value,
            "after": start.id,
            "limit": limit,
        }
        return [Row(*found) for found in self._database.execute(_PAGES[key, reverse], parameters)]

    def _one(self, statement: str, parameters: dict[str, Any]) -> Row | None:
        found = self._database.execute(statement, parameters).fetchone()
        return Row(*found) if found else None


def _start(search: Search, key: SortKey, after: Place | None, *, reverse: bool) -> Place:
    """Where a walk begins: behind the page before, or else at the end of the range that is searched.

    So a statement has one bound at this side; with two, SQLite may begin every page at the one of the search.
    """
    ranges = {SortKey.ID: search.id, SortKey.CREATED_AT: search.created, SortKey.UPDATED_AT: search.updated}
    wanted = ranges[key]
    if reverse:
        high = min(wanted.high + 1, LARGEST)
        end = Place(high, high) if key is SortKey.ID else Place(wanted.high, LARGEST)
        return end if after is None else min(after, end, key=_order)
    end = Place(wanted.low - 1, wanted.low - 1) if key is SortKey.ID else Place(wanted.low, -1)
    return end if after is None else max(after, end, key=_order)


def _order(place: Place) -> tuple[int, int]:
    return place.value, place.id


def _bounds(search: Search) -> dict[str, Any]:
    return {
        "id_low": search.id.low,
        "id_high": search.id.high,
        "created_low": search.created.low,
        "created_high": search.created.high,
        "updated_low": search.updated.low,
        "updated_high": search.updated.high,
        "status": search.status,
        "payment": search.payment,
    }


_PUT = """
INSERT INTO resources (shop, kind, number, id, topic, status, payment, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (shop, kind, number) DO UPDATE
SET topic = excluded.topic, status = excluded.status, payment = excluded.payment, updated_at = excluded.updated_at
"""

_REMOVE = """
UPDATE resources SET deleted = 1 WHERE shop = $shop AND kind = $kind AND number = $number
"""

_BY_ID = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND id = $id AND NOT deleted
"""

_BY_NUMBER = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND number = $number AND NOT deleted
"""

_NEXT = """
SELECT coalesce(max(number) + 1, 0) FROM resources WHERE shop = $shop AND kind = $kind
"""

_COUNT = """
SELECT count(*) FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND id BETWEEN $id_low AND $id_high
  AND created_at BETWEEN $created_low AND $created_high AND updated_at BETWEEN $updated_low AND $updated_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
"""

# The same list in six orders: each walks the index of its sort key from the place where the last page ended.
_PAGE_BY_ID = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND id > $after AND id <= $id_high
  AND created_at BETWEEN $created_low AND $created_high AND updated_at BETWEEN $updated_low AND $updated_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
ORDER BY id LIMIT $limit
"""

_PAGE_BY_ID_REVERSED = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND id < $after AND id >= $id_low
  AND created_at BETWEEN $created_low AND $created_high AND updated_at BETWEEN $updated_low AND $updated_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
ORDER BY id DESC LIMIT $limit
"""

_PAGE_BY_CREATION = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND (created_at, id) > ($value, $after)
  AND created_at <= $created_high AND updated_at BETWEEN $updated_low AND $updated_high
  AND id BETWEEN $id_low AND $id_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
ORDER BY created_at, id LIMIT $limit
"""

_PAGE_BY_CREATION_REVERSED = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND (created_at, id) < ($value, $after)
  AND created_at >= $created_low AND updated_at BETWEEN $updated_low AND $updated_high
  AND id BETWEEN $id_low AND $id_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
ORDER BY created_at DESC, id DESC LIMIT $limit
"""

_PAGE_BY_UPDATE = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND (updated_at, id) > ($value, $after)
  AND updated_at <= $updated_high AND created_at BETWEEN $created_low AND $created_high
  AND id BETWEEN $id_low AND $id_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
ORDER BY updated_at, id LIMIT $limit
"""

_PAGE_BY_UPDATE_REVERSED = """
SELECT shop, kind, number, id, topic, status, payment, created_at, updated_at FROM resources
WHERE shop = $shop AND kind = $kind AND NOT deleted AND (updated_at, id) < ($value, $after)
  AND updated_at >= $updated_low AND created_at BETWEEN $created_low AND $created_high
  AND id BETWEEN $id_low AND $id_high
  AND ($status IS NULL OR status = $status) AND ($payment IS NULL OR payment = $payment)
ORDER BY updated_at DESC, id DESC LIMIT $limit
"""

_PAGES = {
    (SortKey.ID, False): _PAGE_BY_ID,
    (SortKey.ID, True): _PAGE_BY_ID_REVERSED,
    (SortKey.CREATED_AT, False): _PAGE_BY_CREATION,
    (SortKey.CREATED_AT, True): _PAGE_BY_CREATION_REVERSED,
    (SortKey.UPDATED_AT, False): _PAGE_BY_UPDATE,
    (SortKey.UPDATED_AT, True): _PAGE_BY_UPDATE_REVERSED,
}
