"""`make bench`: all benchmarks, or those named in ARGS; `--short` takes fewer and shorter rounds, `--long` more."""

import argparse
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import uvloop
from rich.console import Console
from rich.status import Status

from bench import drift, machine, report
from bench.result import Result
from bench.scale import Scale
from libs.common import logs

BENCHMARKS = {
    "accept": "accepting a webhook, against a handler that stores nothing and against one INSERT per request",
    "routes": "the two routes end to end, by kind of handler, against the least code that does it",
    "peers": "the same small job through other projects",
    "backlog": "what a claim costs by how much is waiting, and beside an old snapshot",
    "flood": "one shop sends everything at once: what the others and the critical lane see",
    "latency": "from accept to effect, at a tenth and at seven tenths of the maximum",
    "scaling": "more processes, what a message costs, and what it costs to have nothing to do",
    "outage": "how fast a backlog goes after an outage while traffic goes on",
    "admin": "calling the Admin API through the client, against plain aiohttp to the same server",
    "pixels": "pixel events from HTTP batches to rows, against one plain deduplicating INSERT of the same rows",
    "pixels_memory": "the size of ingest and worker over millions of pixel events",
    "data": "a page of orders for the app's own pages: kept in memory, known to the browser, asked of Shopify",
    "sessions": "knowing who calls by session token, and getting a shop's token with and without the cache",
}
LONG = frozenset({"pixels_memory"})  # by far the longest: by name, or in the long form


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks; 2 for a name that does not exist."""
    chosen = _parsed(arguments)
    logs.configure("WARNING", "console")
    if unknown := set(chosen.names) - BENCHMARKS.keys():
        known = ", ".join(BENCHMARKS)
        Console(stderr=True).print(f"no benchmark is called {', '.join(sorted(unknown))}: there are {known}")
        return 2
    if chosen.drift:
        _warn(chosen.names or drift.NAMES)
        return 0
    scale = Scale.short() if chosen.short else Scale.long() if chosen.long else Scale()
    usual = [name for name in BENCHMARKS if chosen.long or name not in LONG]
    _run(chosen.names or usual, scale, kept=not chosen.short)
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items())
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--short", action="store_true", help="a glance: the figures are rough, nothing is written"
    )
    how.add_argument(
        "--long", action="store_true", help="more rounds, ten million rows, five million pixel events"
    )
    how.add_argument(
        "--drift", action="store_true", help="a minute: warns of ratios worse than the committed ones"
    )
    return parser.parse_args(arguments)


def _run(names: Sequence[str], scale: Scale, *, kept: bool) -> None:
    console = Console()
    described = machine.described()
    console.print(", ".join(described.values()))
    for name in names:
        result = _measured(name, scale, console)
        report.show(result, console)
        if kept:
            report.keep(result, described)


def _warn(names: Sequence[str]) -> None:
    console = Console(soft_wrap=True)
    for name in names:
        for found in drift.worse(_measured(name, Scale.drift(), console)):
            console.print(f"WARNING: slower than before? {found}")
    console.print(
        f"compared with bench/results: {', '.join(names)}; the machine's load was {machine.load():.1f}"
    )


def _measured(name: str, scale: Scale, console: Console) -> Result:
    with console.status(name) as status:
        return uvloop.run(_benchmark(name)(replace(scale, progress=partial(_tell, status, name, console))))


def _benchmark(name: str) -> Callable[[Scale], Coroutine[Any, Any, Result]]:
    run: Callable[[Scale], Coroutine[Any, Any, Result]] = import_module(f"bench.{name}").run
    return run


def _tell(status: Status, name: str, console: Console, text: str) -> None:
    status.update(f"{name}: {text}")
    if not console.is_terminal:
        console.print(f"{name}: {text}", style="dim")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers end with us
    sys.exit(main())
