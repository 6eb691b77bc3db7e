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
_PIXEL_COUNTS = (
    ("accepted", "accepted: stored in Postgres, rows within moments"),
    ("quarantined", "put into quarantine (GET /ingest/quarantine says why)"),
    ("refused", "refused with their whole request"),
)
_PIXEL_HINTS = {
    "403": "403: the key is none of the server's, or the pixel is switched off",
    "404": "404: that address takes no pixel events; see --url",
    "429": "429: more than one address may send (INGEST_ADDRESS_PER_SECOND, INGEST_KEY_PER_SECOND); see --rate",
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
    yield from _attempts(summary)
    yield from (_HINTS[status] for status in summary["rejected"] if status in _HINTS)


def pixel_lines(summary: dict[str, Any]) -> Iterator[str]:
    """The summary of sending events in words."""
    requests, stopped = summary["requests"], ", then interrupted" if summary["interrupted"] else ""
    took = f"in {summary['seconds']:.1f} s (seed {summary['seed']}){stopped}"
    plural = "" if requests["sent"] == 1 else "s"
    yield f"{summary['sent']:,} events in {requests['sent']:,} request{plural} sent to {summary['url']} {took}"
    for name, words in _PIXEL_COUNTS:
        if summary[name] or name == "accepted":
            yield f"{summary[name]:>11,}  {words}"
    if requests["retried"]:
        yield f"{requests['retried']:>11,}  retries"
    yield from _attempts(requests)
    yield from (_PIXEL_HINTS[status] for status in requests["rejected"] if status in _PIXEL_HINTS)


def _attempts(requests: dict[str, Any]) -> Iterator[str]:
    for cause, count in (requests["rejected"] | requests["unanswered"]).items():
        yield f"{count:>11,}  attempts ended with {cause}"
    if requests["p50_ms"] is not None:
        yield f"answered in {requests['p50_ms']:.1f} ms (p50), {requests['p99_ms']:.1f} ms (p99)"
