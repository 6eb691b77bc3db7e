"""What every statement of the model shares: the tables it means, what it answers with, and how it is found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeAlias

from tests.simulation.database_heap import Steps, Table, Transaction, Values


class Record(tuple[Any, ...]):
    """A row of an answer, read like an `asyncpg.Record`."""

    __slots__ = ()
    columns: ClassVar[Mapping[str, int]] = {}

    def __getitem__(self, place: Any) -> Any:
        return tuple.__getitem__(self, self.columns[place] if isinstance(place, str) else place)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.columns else default

    def keys(self) -> Iterator[str]:
        return iter(self.columns)

    def values(self) -> Iterator[Any]:
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        return zip(self.columns, self, strict=True)


def record_type(*columns: str) -> type[Record]:
    """The type of an answer's rows."""
    places = {name: place for place, name in enumerate(columns)}
    return type("Record", (Record,), {"__slots__": (), "columns": places})


Answer: TypeAlias = Sequence[Record] | str
"""Rows, or the tag of a command that ends or begins a transaction."""

NOTHING: Answer = ()


@dataclass(slots=True)
class AdvisoryLocks:
    """Session locks: who has them, and how often."""

    held: dict[tuple[int, int], tuple[object, int]] = field(default_factory=dict)

    def take(self, session: object, key: tuple[int, int]) -> bool:
        holder, times = self.held.get(key, (session, 0))
        if holder is session:
            self.held[key] = (session, times + 1)
        return holder is session

    def release(self, session: object, key: tuple[int, int]) -> bool:
        holder, times = self.held.get(key, (None, 0))
        if holder is not session:
            return False
        if times > 1:
            self.held[key] = (session, times - 1)
        else:
            del self.held[key]
        return True

    def end(self, session: object) -> None:
        """A session and its locks are gone."""
        self.held = {key: entry for key, entry in self.held.items() if entry[0] is not session}


class Server(Protocol):
    """What statements ask of the server besides its tables."""

    locks: AdvisoryLocks

    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Places:
    """What the names in one statement stand for."""

    tables: Mapping[str, Table]
    source: str
    consumer: str
    server: "Server"

    @property
    def messages(self) -> Table:
        return self.tables[f"{self.source}.messages"]

    @property
    def outbox(self) -> Table:
        return self.tables[f"{self.source}.outbox"]

    @property
    def duplicates(self) -> Table:
        return self.tables[f"{self.source}.duplicates"]

    @property
    def scheduled(self) -> Table:
        return self.tables[f"{self.consumer}.scheduled"]

    @property
    def failed(self) -> Table:
        return self.tables[f"{self.consumer}.failed"]

    @property
    def history(self) -> Table:
        return self.tables[f"{self.consumer}.history"]

    @property
    def schedules(self) -> Table:
        return self.tables[f"{self.consumer}.schedules"]

    @property
    def slots(self) -> Table:
        return self.tables[f"{self.consumer}.slots"]


Run: TypeAlias = "Callable[..., Answer | Steps[Answer]]"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement under the name of its constant. `run` is a generator where it may have to wait."""

    name: str
    run: Run
    control: bool = False


def insertion(table: Table, columns: Sequence[str]) -> Run:
    """A handler's plain `INSERT INTO table (columns) VALUES ($1, …)`."""

    def run(tx: Transaction, *args: Any) -> Steps[Answer]:
        yield from tx.insert(table, {**dict(zip(columns, args, strict=True)), "at": tx.now})
        return NOTHING

    return run


def outbox_row(destination: str, lane: str, message_id: Any, tx: Transaction, **others: Any) -> Values:
    """A row of an outbox as its defaults make it."""
    return {
        "destination": destination, "lane": lane, "id": message_id, "holder": None, "leased_until": None,
        "ready_at": tx.now, "deliveries": 0, "suspicions": 0, "attempt": 0, "log": None, **others,
    }  # fmt: skip
