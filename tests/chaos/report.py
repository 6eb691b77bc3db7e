"""The table of a chaos run: printed when pytest ends, and kept in docs/reliability.md by `make chaos`."""

import asyncio
import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.chaos.figures import Row
from tests.chaos.world import World

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- written by make chaos: begin -->", "<!-- written by make chaos: end -->"

COLUMNS = ("fault", "messages", "lost", "doubled", "deaths", "gap", "slowest", "over", "back", "drain")
MISSED = " !"
_WIDTH = 200  # characters, more than any line has: a narrow terminal wraps what rich would cut
_MOST_GAP = 1.0  # seconds, expected where the broker alone fails
_MOST_SLOWEST = (
    10.0  # seconds, expected for each death of a worker: a message may see several, one after the other
)

WANTED = bool(os.environ.get("CHAOS_REPORT"))
"""Whether this pytest run writes the page."""

ROWS: list[Row] = []
"""Of this pytest run, in its order. A test adds what belongs into the table."""


SERVERS: list[str] = []
"""Name and version of what the page's runs were made with."""


async def note_servers(world: World) -> None:
    """Asks for the versions, once, where the page is wanted."""
    if WANTED and not SERVERS:
        rabbitmq = await asyncio.to_thread(world.rabbit.version)
        postgres = await world.look.surely("SHOW server_version")
        SERVERS.extend((f"RabbitMQ {rabbitmq}", f"PostgreSQL {postgres}"))


def cells(row: Row) -> tuple[str, ...]:
    """A row as the table shows it. Figures that miss what is expected have a mark."""
    return (
        f"{row.fault}{MISSED if row.violations else ''}",
        str(row.messages),
        _number(row.lost),
        _number(row.doubled),
        str(row.deaths or "-"),
        _seconds(row.longest_gap, _MOST_GAP if row.broker_only else None),
        _seconds(row.slowest, _MOST_SLOWEST * row.deaths if row.deaths else None),
        _seconds(row.switch_over),
        _seconds(row.switch_back),
        _seconds(row.drain),
    )


def _number(number: int) -> str:
    return f"{number}{MISSED if number else ''}"


def _seconds(seconds: float | None, most: float | None = None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s{MISSED if most is not None and seconds >= most else ''}"


def printed(rows: Iterable[Row]) -> str:
    """The table for a terminal."""
    table = Table(box=SIMPLE)
    table.add_column(COLUMNS[0], no_wrap=True)
    for name in COLUMNS[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row))
    console = Console(width=_WIDTH, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def markdown(rows: Iterable[Row]) -> str:
    """The table for a page."""
    lines = [COLUMNS, ("---", *("---:" for _ in COLUMNS[1:])), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(rows: Sequence[Row], *, seed: int, servers: str, now: datetime) -> str:
    """What `make chaos` writes: when, where, with what, and the table."""
    total = sum(row.messages for row in rows)
    broken = sum(bool(row.violations) for row in rows)
    words = (
        f"Last run: {now:%Y-%m-%d}, `SEED={seed}`, {len(rows)} runs, {total} messages, "
        f"{broken or 'no'} run{'s' if broken > 1 else ''} with a broken promise.\n"
        f"Machine: {_machine()}. With {servers}, Python {platform.python_version()}, "
        f"aio-pika {version('aio-pika')}, asyncpg {version('asyncpg')}."
    )
    return f"{words}\n\n{markdown(rows)}"


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def write(page: Path, rows: Sequence[Row], *, seed: int) -> None:
    """Replaces what stands between the markers."""
    text = page.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no place for the table: {BEGIN} … {END}")
    made = section(rows, seed=seed, servers=", ".join(SERVERS), now=datetime.now(UTC))
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n{made}\n{END}", text))
