"""How the result of `shopbus send` reads."""

from collections.abc import Iterator
from typing import Any

import typer

from services.cli.errand import Accepted
from services.cli.jobs import print_json

_COUNTS = (
    ("accepted", "accepted"),
    ("copies", "sent twice on purpose"),
    ("duplicates", "answered as duplicates"),
    ("retried", "retries"),
    ("given_up", "given up"),
)
_HINTS = {
    "401": "401: the server has another SHOPIFY_API_SECRET than the one used here",
    "404": "404: that address takes no webhooks; see --url",
}


def report(summary: dict[str, Any], accepted: Accepted, *, as_json: bool) -> None:
    """Prints the summary, for programs or for people."""
    if as_json:
        print_json(summary)
        return
    for line in lines(summary):
        typer.echo(line)
    if newest := next(reversed(accepted.ids), None):
        typer.echo(f"\nWhat became of the last one: shopbus why {newest}")


def lines(summary: dict[str, Any]) -> Iterator[str]:
    """The summary in words; what did not happen is not mentioned."""
    stopped = ", then interrupted" if summary["interrupted"] else ""
    took = f"in {summary['seconds']:.1f} s (seed {summary['seed']}){stopped}"
    yield f"{summary['sent']:,} sent to {summary['url']} {took}"
    for name, words in _COUNTS:
        if summary[name] or name == "accepted":
            yield f"{summary[name]:>11,}  {words}"
    for cause, count in (summary["rejected"] | summary["unanswered"]).items():
        yield f"{count:>11,}  attempts ended with {cause}"
    if summary["p50_ms"] is not None:
        yield f"answered in {summary['p50_ms']:.1f} ms (p50), {summary['p99_ms']:.1f} ms (p99)"
    yield from (_HINTS[status] for status in summary["rejected"] if status in _HINTS)
