"""What a schema holds of people and of shops, table by table, as each service declares it beside its migrations.

    Holdings("worker", (
        *PRODUCER_TABLES, *CONSUMER_TABLES,
        Personal("orders", ("shop", "order_id"), find=..., erase=..., erase_shop=...),
        Free("schedules", "names of handlers"),
    ))

A table that is declared neither as personal nor as free stops the tests (tests/architecture/test_privacy.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.contracts.privacy import Subject
from libs.common.privacy.people import table_pattern, table_patterns


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with $1, $2, … for what is named in `by`: attributes of `Subject`, where all_orders is an array of ids.

    `pattern` is a regular expression (for ~*) that finds the customer in free text, or in JSON as text; `patterns` is
    an array (for ~* ANY) of it and of others, which find the customer's browsers.
    """

    sql: str
    by: tuple[str, ...] = ("shop",)

    def values(self, subject: Subject) -> list[object]:
        return [_value(subject, name) for name in self.by]


def _value(subject: Subject, name: str) -> object:
    if name == "pattern":
        return table_pattern(subject)
    if name == "patterns":
        return table_patterns(subject)
    value: object = getattr(subject, name)
    if callable(value):
        value = value()
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Personal:
    """A table with rows about people or shops. Where a statement is None, there is nothing of that kind in it."""

    name: str
    columns: tuple[str, ...]  # those that identify, or tell something about, a person or a shop
    find: Statement | None = None  # a customer's rows, for the file that they are given
    erase: Statement | None = None  # DELETE or UPDATE of a customer's rows
    erase_shop: Statement | None = None  # DELETE of a shop's rows, those later than $before left alone
    names: str | None = None  # a column of text or JSON, with which nobody may be given others' names
    counted: bool = True  # its rows are about somebody; a trace of work alone is not


@dataclass(frozen=True, slots=True)
class Protocol:
    """A table of the outbox protocol: libs/common/outbox/erase_store.py finds and erases in it, by the payload."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Free:
    """A table that holds nothing of people or shops, and why."""

    name: str
    why: str


Table = Personal | Protocol | Free


@dataclass(frozen=True, slots=True)
class Holdings:
    """All tables of one schema."""

    schema: str
    tables: tuple[Table, ...]

    def place(self, table: Table) -> str:
        """The table with its schema; one that services share names its schema itself, and one of them declares it."""
        return table.name if "." in table.name else f"{self.schema}.{table.name}"

    @property
    def personal(self) -> list[Personal]:
        return [table for table in self.tables if isinstance(table, Personal)]


PRODUCER_TABLES: tuple[Table, ...] = (
    Protocol("messages", ("shop", "key", "subject", "headers", "body")),
    Protocol("outbox", ("log",)),
    Free("duplicates", "a counter for each process"),
    Free("privacy_tombstones", "keyed hashes and times"),
    Free("privacy_progress", "numbers of rows"),
    Free("alembic_version", "which migrations were applied"),
)
CONSUMER_TABLES: tuple[Table, ...] = (
    Protocol("scheduled", ("log",)),
    Protocol("failed", ("shop", "error", "log")),
    Protocol("history", ("shop", "log")),
    Free("schedules", "names of handlers and times"),
    Free("slots", "hashes, only while a handler runs"),
)
