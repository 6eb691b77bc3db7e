"""Rows as concurrent transactions see them in Postgres at READ COMMITTED: newest committed values, locks, and waiting.

A statement is a generator: it yields what it has to wait for, and goes on when that may have ended.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar

import asyncpg

Values: TypeAlias = dict[str, Any]
"""What a row says. Never changed once a row has it, so that nobody has to copy it."""

Key: TypeAlias = tuple[Any, ...]
T = TypeVar("T")
Steps: TypeAlias = Generator["Row | Transaction", None, T]

_SAME: Values = {}  # stands for "locked, but not changed"


class Sleeper(Protocol):
    """The session that a transaction belongs to."""

    listens: set[str]

    def wake(self) -> None: ...
    def blocker(self) -> "Transaction | None": ...


class Row:
    """One row from its insert to its delete; a row inserted later under the same key is another one."""

    __slots__ = ("_pending", "committed", "owner", "table", "waiting")

    def __init__(self, table: "Table", owner: "Transaction", values: Values) -> None:
        self.table = table
        self.committed: Values | None = None
        self.owner: Transaction | None = owner
        self.waiting: list[Transaction] = []
        self._pending: Values | None = values

    def seen_by(self, tx: "Transaction") -> Values | None:
        """The values that a transaction sees; None where the row does not exist for it."""
        return self._pending if self.owner is tx and self._pending is not _SAME else self.committed

    def in_doubt_for(self, tx: "Transaction") -> bool:
        """Whether another transaction's end decides if the row exists, or what it says."""
        return self.owner is not None and self.owner is not tx and self._pending is not _SAME

    @property
    def gone(self) -> bool:
        return self.owner is None and self.committed is None

    def lock(self, tx: "Transaction") -> None:
        if self.owner is None:
            self.owner, self._pending = tx, _SAME

    def change(self, values: Values | None) -> None:
        """The owner's new values; None deletes."""
        self._pending = values

    def settle(self, *, committed: bool) -> None:
        """The owner has ended."""
        if committed and self._pending is not _SAME:
            self.committed = self._pending
        self.owner, self._pending = None, _SAME
        if self.committed is None:
            self.table.remove(self)
        self.wake_next()

    def wake_next(self) -> None:
        """Of those that wait for a row only the first tries, as in Postgres; the others queue behind it."""
        if self.waiting:
            self.waiting[0].sleeper.wake()


Clash: TypeAlias = tuple[tuple[str, ...], Row]
"""A unique key, and the row that has it."""


class Table:
    """A table's rows by its unique keys; the first is the primary key."""

    def __init__(self, name: str, *keys: tuple[str, ...], unlogged: bool = False) -> None:
        self.name, self.unlogged = name, unlogged
        self._rows: dict[Row, Values] = {}
        self._indexes: dict[tuple[str, ...], dict[Key, list[Row]]] = {key: {} for key in keys}
        self._primary: dict[Key, list[Row]] = self._indexes[keys[0]] if keys else {}

    def __iter__(self) -> Iterator[Values]:
        """What is committed."""
        return (row.committed for row in self._rows if row.committed is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def rows(self, tx: "Transaction") -> list[tuple[Row, Values]]:
        """Every row that a transaction sees."""
        return [(row, values) for row in self._rows if (values := row.seen_by(tx)) is not None]

    def find(self, tx: "Transaction", *key: Any) -> Row | None:
        """The row with this primary key that a transaction sees."""
        return _seen(self._primary.get(key, ()), tx)

    def find_by(self, columns: tuple[str, ...], tx: "Transaction", *key: Any) -> Row | None:
        """The row with this other unique key that a transaction sees."""
        return _seen(self._indexes[columns].get(key, ()), tx)

    def rival(self, tx: "Transaction", values: Values, arbiter: tuple[str, ...] | None) -> Clash | None:
        """A row with one of the keys that these values have, which exists or may yet; the arbiter is asked first."""
        for columns in self._indexes if arbiter is None else (arbiter, *self._indexes):
            for row in self._indexes[columns].get(tuple(values[column] for column in columns), ()):
                if row.in_doubt_for(tx) or row.seen_by(tx) is not None:
                    return columns, row
        return None

    def add(self, row: Row, values: Values) -> None:
        self._rows[row] = values
        for key, index in self._entries(values):
            index.setdefault(key, []).append(row)

    def remove(self, row: Row) -> None:
        for key, index in self._entries(self._rows.pop(row)):
            index[key].remove(row)
            if not index[key]:
                del index[key]

    def truncate(self) -> None:
        self._rows.clear()
        for index in self._indexes.values():
            index.clear()

    def _entries(self, values: Values) -> Iterator[tuple[Key, dict[Key, list[Row]]]]:
        for columns, index in self._indexes.items():
            key = tuple(values[column] for column in columns)
            if None not in key:  # NULL is never equal to anything
                yield key, index


def _seen(rows: Sequence[Row], tx: "Transaction") -> Row | None:
    return next((row for row in rows if row.seen_by(tx) is not None), None)


class Transaction:
    """A transaction's locks and changes until it ends."""

    def __init__(self, sleeper: Sleeper, now: datetime) -> None:
        self.sleeper, self.now = sleeper, now
        self.notices: dict[tuple[str, str], None] = {}
        self.waiting: list[Transaction] = []
        self._open = True
        self._touched: dict[Row, None] = {}

    @property
    def owner(self) -> "Transaction | None":
        """Whom one waits for who waits for this transaction; the same question as of a row."""
        return self if self._open else None

    def try_lock(self, row: Row) -> bool:
        """FOR UPDATE SKIP LOCKED."""
        if row.owner is not None and row.owner is not self:
            return False
        self._own(row)
        return True

    def lock(self, row: Row) -> Steps[Values | None]:
        """FOR UPDATE: the row's newest values, as soon as nobody else holds it; None if it was deleted."""
        if row.owner is not None and row.owner is not self:
            row.waiting.append(self)
            try:
                while row.owner is not None:
                    yield row
                if not row.gone:
                    self._own(row)
            finally:
                row.waiting.remove(self)
                if row.owner is None:
                    row.wake_next()
        if row.gone:
            return None
        self._own(row)
        return row.seen_by(self)

    def lock_all(self, rows: Iterable[Row | None]) -> Steps[list[Row]]:
        """Locks rows that this statement has seen, one after the other; returns those that are still there."""
        locked = []
        for row in list(rows):
            if row is not None and (yield from self.lock(row)) is not None:
                locked.append(row)  # noqa: PERF401 - a generator waits in it
        return locked

    def update(self, row: Row, **changes: Any) -> Values:
        """Changes a locked row; returns its new values."""
        values = {**(row.seen_by(self) or {}), **changes}
        row.change(values)
        return values

    def delete(self, row: Row) -> Values:
        """Deletes a locked row; returns what it said."""
        values = row.seen_by(self) or {}
        row.change(None)
        return values

    def insert(self, table: Table, values: Values) -> Steps[Values]:
        """Inserts, after waiting for whoever may have the same key; raises what Postgres raises if it is taken."""
        clash = yield from self._clash(table, values)
        if clash is not None:
            raise _taken(table, clash)
        return self._add(table, values)

    def insert_new(self, table: Table, values: Values, arbiter: tuple[str, ...]) -> Steps[bool]:
        """ON CONFLICT DO NOTHING; False if the key was taken."""
        clash = yield from self._clash(table, values, arbiter)
        if clash is None:
            self._add(table, values)
        elif clash[0] != arbiter:
            raise _taken(table, clash)
        return clash is None

    def upsert(
        self, table: Table, values: Values, change: Callable[[Values], Values]
    ) -> Steps[tuple[Values, bool]]:
        """ON CONFLICT DO UPDATE; the row's values, and whether it was there before."""
        while (clash := (yield from self._clash(table, values))) is not None:
            if (found := (yield from self.lock(clash[1]))) is not None:
                return self.update(clash[1], **change(found)), True
        return self._add(table, values), False

    def end(self, *, committed: bool) -> None:
        """COMMIT or ROLLBACK: whoever waits may try again."""
        self._open = False
        for row in self._touched:
            row.settle(committed=committed)
        for other in self.waiting:
            other.sleeper.wake()

    def _own(self, row: Row) -> None:
        row.lock(self)
        self._touched[row] = None

    def _add(self, table: Table, values: Values) -> Values:
        row = Row(table, self, values)
        table.add(row, values)
        self._touched[row] = None
        return values

    def _clash(
        self, table: Table, values: Values, arbiter: tuple[str, ...] | None = None
    ) -> Steps[Clash | None]:
        while (clash := table.rival(self, values, arbiter)) is not None and clash[1].in_doubt_for(self):
            other = clash[1].owner
            assert other is not None
            other.waiting.append(self)
            try:
                while other.owner is not None:
                    yield other
            finally:
                other.waiting.remove(self)
        return clash


def _taken(table: Table, clash: Clash) -> asyncpg.UniqueViolationError:
    return asyncpg.UniqueViolationError(f"duplicate key in {table.name}: {', '.join(clash[0])}")
