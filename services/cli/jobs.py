"""`shopbus jobs`: list, show and retry messages."""

from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from services.cli import filters
from services.cli.api import Api, IdArgument, Json, JsonOption, UrlOption, with_api
from services.cli.filters import ShopOption, SinceOption, StatusOption, TypeOption
from services.cli.screen import ago, clean, duration, moment, read_time, show_table

app = typer.Typer(help="List, show and retry messages.")

_COLUMNS = ("ID", "TYPE", "SHOP", "STATUS", "TRIES", "ACCEPTED", "ENDED")
_FACTS = {
    "id": "id",
    "status": "status",
    "outcome": "outcome",
    "reason": "reason",
    "error": "error",
    "type": "type",
    "shop": "shop",
    "handler": "handler",
    "lane": "lane",
    "source": "source",
    "origin": "origin",
    "correlation_id": "correlation",
}
_TIMES = {"created_at": "accepted", "next_attempt_at": "next attempt", "finished_at": "ended"}


@app.command("ls")
def list_jobs(
    status: StatusOption = None,
    kind: TypeOption = None,
    shop: ShopOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List messages, newest first."""
    wanted = filters.query(status, kind, shop, since)

    async def collect(api: Api) -> list[Json]:
        return [job async for job in api.jobs(wanted, limit)]

    jobs = with_api(url, collect)
    if as_json:
        for job in jobs:
            print_json(job)
    elif jobs:
        now = datetime.now(UTC)
        show_table(_COLUMNS, [_row(job, now) for job in jobs])
    else:
        typer.echo("no messages match", err=True)


@app.command("show")
def show(identifier: IdArgument, *, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Show one message with all its attempts."""
    job = with_api(url, lambda api: api.job(identifier))
    if as_json:
        print_json(job)
        return
    now = datetime.now(UTC)
    for name, value in _facts(job, now):
        typer.echo(f"{name + ':':<14}{value}")
    if attempts := job.get("attempts"):
        typer.echo()
        show_table(("TRY", "STARTED", "TOOK", "ROUTE", "ERROR"), _attempt_rows(attempts, now))


@app.command("retry")
def retry(identifier: IdArgument, *, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Put one message back to work."""
    answer = with_api(url, lambda api: api.retry(identifier))
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['id']} is {answer['status']} again")


def print_json(value: Json) -> None:
    typer.echo(orjson.dumps(value).decode())


def _row(job: Json, now: datetime) -> tuple[object, ...]:
    times = [ago(read_time(job.get(name)), now) for name in ("created_at", "finished_at")]
    shop = job["shop"].removesuffix(".myshopify.com") or "-"
    return (job["id"], filters.short_type(job["type"]), shop, _state(job), job["tries"], *times)


def _state(job: Json) -> str:
    """The status, and the outcome where it says more."""
    outcome = job.get("outcome")
    return f"{job['status']} ({outcome})" if outcome in {"unhandled", "cancelled"} else str(job["status"])


def _facts(job: Json, now: datetime) -> list[tuple[str, str]]:
    """What is known of a message, in the order in which one asks; what is not is left out."""
    plain = [(words, clean(job[name])) for name, words in _FACTS.items() if job.get(name)]
    return plain + [
        (words, moment(read_time(job[name]), now)) for name, words in _TIMES.items() if job.get(name)
    ]


def _attempt_rows(attempts: list[Json], now: datetime) -> list[tuple[object, ...]]:
    return [
        (
            number,
            moment(read_time(attempt.get("started_at")), now),
            took(attempt),
            attempt.get("route") or "-",
            attempt.get("error") or "-",
        )
        for number, attempt in enumerate(attempts, start=1)
    ]


def took(attempt: Json) -> str:
    """How long an attempt lasted, or a dash while it does."""
    started, finished = read_time(attempt.get("started_at")), read_time(attempt.get("finished_at"))
    return duration((finished - started).total_seconds()) if started and finished else "-"
