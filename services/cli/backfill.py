"""`shopbus backfill`: fetch a shop's orders, products or customers in bulk, and see how far that is."""

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.cli.api import Api, Json, JsonOption, UrlOption, with_api
from services.cli.filters import ShopOption, shop_name
from services.cli.jobs import print_json
from services.cli.screen import ago, clean, moment, parse_since, read_time, show_table

app = typer.Typer(help="Fetch all orders, products or customers of a shop since a time.")

_COLUMNS = ("ID", "SHOP", "RESOURCE", "SINCE", "STATUS", "ACCEPTED", "READ", "BEGUN", "WHY")
_FACTS = ("id", "shop", "resource", "status", "reason", "operation", "attempt", "failures")
_NUMBERS = ("accepted", "repeated", "withheld")
_TIMES = {
    "since": "since", "created_at": "asked for", "snapshot_at": "snapshot of", "next_at": "next step",
    "ended_at": "ended",
}  # fmt: skip
_LOOK_SECONDS = 1.0


class Resource(StrEnum):
    """What can be fetched."""

    ORDERS = "orders"
    PRODUCTS = "products"
    CUSTOMERS = "customers"


IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A backfill's id, as `shopbus backfill ls` shows it.")
]
_ResourceOption = Annotated[Resource, typer.Option("--resource", help="What to fetch.")]
_OneResource = Annotated[Resource | None, typer.Option("--resource", help="Only these.")]
_SinceOption = Annotated[
    str, typer.Option("--since", metavar="TIME", help="Updated since: 3d, 2026-01-01 or an ISO time.")
]
_WaitOption = Annotated[bool, typer.Option("--wait", help="Show how far it is until it has ended.")]
_Shop = Annotated[
    str, typer.Option("--shop", metavar="SHOP", help="A shop; sandbox-007 is short for its domain.")
]


@app.command("start")
def start(
    shop: _Shop,
    resource: _ResourceOption,
    since: _SinceOption,
    *,
    wait: _WaitOption = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Begin a backfill; with --wait the exit code is 1 if it does not complete, or its file was shorter than told."""
    name, moment_ = shop_name(shop), parse_since(since, datetime.now(UTC)).isoformat()

    async def work(api: Api) -> Json:
        begun = await api.start_backfill(name, resource.value, moment_)
        return await _followed(api, begun) if wait else begun

    found = with_api(url, work)
    if as_json:
        print_json(found)
    elif wait:
        _show(found)
    else:
        typer.echo(f"{found['id']}: see `shopbus backfill show {found['id']}`")
    if wait and not _has_all(found):
        raise typer.Exit(1)


@app.command("ls")
def list_backfills(
    shop: ShopOption = None,
    resource: _OneResource = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status", help="waiting, running, reading, cancelling, completed, failed or cancelled."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List backfills, newest first."""
    wanted = {
        "shop": shop and shop_name(shop), "resource": resource and resource.value, "status": status,
        "limit": str(limit),
    }  # fmt: skip
    found = with_api(url, lambda api: api.backfills({key: value for key, value in wanted.items() if value}))
    if as_json:
        for one in found:
            print_json(one)
    elif found:
        now = datetime.now(UTC)
        show_table(_COLUMNS, [_row(one, now) for one in found])
    else:
        typer.echo("no backfills match", err=True)


@app.command("show")
def show(identifier: IdArgument, *, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Show one backfill."""
    found = with_api(url, lambda api: api.backfill(identifier))
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command("cancel")
def cancel(identifier: IdArgument, *, url: UrlOption = None) -> None:
    """End a backfill before its time. Messages that it made stay."""
    found = with_api(url, lambda api: api.cancel_backfill(identifier))
    typer.echo(f"{found['id']} is {found['status']}")


async def _followed(api: Api, one: Json) -> Json:
    """The backfill once it has ended; meanwhile a bar on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(one["status"], total=None)
        while one["ended_at"] is None:
            bar.update(task, **_bar(one))
            await asyncio.sleep(_LOOK_SECONDS)
            one = await api.backfill(one["id"])
    return one


def _bar(one: Json) -> Json:
    """What the bar shows: lines that Shopify has written, or of these, how many were taken in."""
    lines = one["file"]["lines"]
    if one["status"] == "reading":
        return {"description": "reading", "total": lines, "completed": one["file"]["lines_read"]}
    words = f"{one['status']}: {clean(one['reason'])}" if one["reason"] else one["status"]
    return {"description": words, "total": None, "completed": lines}


def _row(one: Json, now: datetime) -> tuple[object, ...]:
    file, since = one["file"], read_time(one["since"])
    return (
        one["id"], one["shop"].removesuffix(".myshopify.com"), one["resource"], f"{since:%Y-%m-%d}", one["status"],
        f"{one['accepted']:,}", _share(file["lines_read"], file["lines"]), ago(read_time(one["created_at"]), now),
        one["reason"] or "-",
    )  # fmt: skip


def _has_all(one: Json) -> bool:
    file = one["file"]
    return bool(one["status"] == "completed" and file["lines_read"] >= file["lines"])


def _share(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "-"


def _show(one: Json) -> None:
    now, file = datetime.now(UTC), one["file"]
    for name in _FACTS:
        if one[name]:
            typer.echo(f"{name + ':':<13}{clean(one[name])}")
    for name in _NUMBERS:
        typer.echo(f"{name + ':':<13}{one[name]:,}")
    read = f"{file['lines_read']:,} of {file['lines']:,} lines, {file['bytes_read']:,} bytes"
    typer.echo(f"{'file:':<13}{read}")
    for name, words in _TIMES.items():
        if one[name]:
            typer.echo(f"{words + ':':<13}{moment(read_time(one[name]), now)}")
