"""`shopbus replay`: put many messages back to work, after saying how many."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli import filters
from services.cli.api import UrlOption, with_api
from services.cli.errors import BadInput
from services.cli.filters import ShopOption, SinceOption, Status, TypeOption


def replay(
    status: Annotated[
        Status, typer.Option("--status", help="failed, completed, or pending: what waits for a retry.")
    ] = Status.FAILED,
    kind: TypeOption = None,
    shop: ShopOption = None,
    since: SinceOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: UrlOption = None,
) -> None:
    """Replay all messages that match: first the plan, then the deed."""
    wanted = filters.query(status, kind, shop, since)
    which = ", ".join(f"{name} {value}" for name, value in wanted.items())
    wanted["until"] = datetime.now(UTC).isoformat()  # what is accepted after the plan is no part of it
    planned = with_api(url, lambda api: api.retry_many(wanted, dry_run=True))
    typer.echo(f"{planned:,} messages match ({which})")
    if dry_run or not planned:
        return
    _confirm(planned, yes=yes)
    replayed = with_api(url, lambda api: api.retry_many(wanted, dry_run=False))
    typer.echo(f"{replayed:,} put back to work{_difference(planned - replayed)}")


def _confirm(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"nobody to ask: say --yes to replay {count:,} messages")
    typer.confirm(f"Replay {count:,} messages?", abort=True)


def _difference(fewer: int) -> str:
    return f"; {fewer:,} had moved on meanwhile, or their payload is gone" if fewer > 0 else ""
