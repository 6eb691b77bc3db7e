"""`make bench`: all benchmarks, or those named in ARGS; `--short` takes fewer and shorter rounds."""

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import uvloop
from rich.console import Console
from rich.status import Status

from bench import machine, report
from bench.result import Result
from bench.scale import Scale

BENCHMARKS = {
    "routes": "the two routes end to end, by kind of handler, against the least code that does it",
    "backlog": "what a claim costs by how much is waiting, and beside an old snapshot",
    "flood": "one shop sends everything at once: what the others and the critical lane see",
    "scaling": "more processes, what a message costs, and what it costs to have nothing to do",
    "outage": "how fast a backlog goes after an outage while traffic goes on",
    "latency": "from accept to effect, at a tenth and at seven tenths of the maximum",
    "peers": "the same small job through other projects",
    "accept": "accepting a webhook, against a handler that stores nothing and against one INSERT per request",
    "admin": "calling the Admin API through the client, against plain aiohttp to the same server",
    "sessions": "knowing who calls by session token, and getting a shop's token with and without the cache",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks; 2 for a name that does not exist."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items())
    )
    parser.add_argument(
        "--short", action="store_true", help="a glance: the figures are rough, nothing is written"
    )
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - BENCHMARKS.keys():
        known = ", ".join(BENCHMARKS)
        Console(stderr=True).print(f"no benchmark is called {', '.join(sorted(unknown))}: there are {known}")
        return 2
    _run(chosen.names or list(BENCHMARKS), Scale.short() if chosen.short else Scale(), kept=not chosen.short)
    return 0


def _run(names: Sequence[str], scale: Scale, *, kept: bool) -> None:
    console = Console()
    described = machine.described()
    for name in names:
        with console.status(name) as status:
            result = uvloop.run(_benchmark(name)(replace(scale, progress=partial(_tell, status, name))))
        report.show(result, console)
        if kept:
            report.keep(result, described)


def _benchmark(name: str) -> Callable[[Scale], Coroutine[Any, Any, Result]]:
    run: Callable[[Scale], Coroutine[Any, Any, Result]] = import_module(f"bench.{name}").run
    return run


def _tell(status: Status, name: str, text: str) -> None:
    status.update(f"{name}: {text}")


if __name__ == "__main__":
    sys.exit(main())
