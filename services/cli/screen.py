"""How the commands show things: words for times, tables for people, tabs for pipes."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.errors import BadInput

_WIDEST = 10_000  # columns
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
_SINCE = re.compile(r"(\d+)\s*(s|m|min|h|d)")
_SINCE_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}


def clean(text: object) -> str:
    """Text from outside with nothing in it that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def duration(seconds: float) -> str:
    """A span for people: 340 ms, 12 s, 3 min, 2 h, 5 d."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone() if text else None


def ago(when: datetime | None, now: datetime) -> str:
    """How far a time is from now."""
    if when is None:
        return "-"
    away = (now - when).total_seconds()
    return f"{duration(away)} ago" if away >= 0 else f"in {duration(-away)}"


def moment(when: datetime | None, now: datetime) -> str:
    """A time in the reader's own zone, and how far it is from now."""
    if when is None:
        return "-"
    local = when.astimezone()
    day = "" if local.date() == now.astimezone().date() else f"{local:%d %b %Y} "
    return f"{day}{local:%H:%M:%S} ({ago(when, now)})"


def parse_since(text: str, now: datetime) -> datetime:
    """`90s`, `15m`, `2h`, `3d` count back from now; the rest is an ISO date or time, local without zone."""
    if match := _SINCE.fullmatch(text.strip()):
        return now - timedelta(seconds=int(match[1]) * _SINCE_SECONDS[match[2]])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise BadInput(f"{text!r} is no time: say 15m, 2h, 3d, or 2026-11-21T08:00") from None


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; tab-separated lines under a heading anywhere else."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            typer.echo("\t".join(clean(cell) for cell in row))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console = Console(highlight=False)
    natural = console.measure(table, options=console.options.update(width=_WIDEST)).maximum
    console.width = max(
        console.width, natural
    )  # the terminal breaks lines that are too long; rich would cut ids
    console.print(table)
