"""`shopbus privacy`: requests for data and for erasure, their files, and whether a receipt is genuine."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from libs.common.privacy.keys import InvalidReceipt, PrivacyKeys, verify
from services.cli.api import Json, JsonOption, UrlOption, with_api
from services.cli.config import CliSettings
from services.cli.errors import BadInput
from services.cli.filters import ShopOption
from services.cli.jobs import print_json
from services.cli.screen import ago, clean, moment, read_time, show_table

app = typer.Typer(help="Requests of merchants and customers for their data, or to be erased.")

CaseArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A case's id, as `shopbus privacy ls` shows it.")
]
_COLUMNS = ("ID", "KIND", "SHOP", "STATUS", "ASKED", "DUE")
_TIMES = {"requested_at": "asked for", "due_at": "due", "ready_at": "ready", "ended_at": "ended"}


@app.command("ls")
def list_cases(
    kind: Annotated[
        str | None, typer.Option("--kind", help="data_request, customer_redact or shop_redact.")
    ] = None,
    status: Annotated[str | None, typer.Option("--status", help="open, ready, done or superseded.")] = None,
    shop: ShopOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 50,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List cases, newest first."""
    wanted = {"kind": kind, "status": status, "shop": shop, "limit": str(limit)}
    query = {name: value for name, value in wanted.items() if value}
    cases = with_api(url, lambda api: api.privacy_cases(query))
    if as_json:
        for case in cases:
            print_json(case)
    elif cases:
        now = datetime.now(UTC)
        show_table(_COLUMNS, [_row(case, now) for case in cases])
    else:
        typer.echo("no cases match", err=True)


@app.command("show")
def show(identifier: CaseArgument, *, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Show one case: its clock, what each service erased or found, its receipt."""
    case = with_api(url, lambda api: api.privacy_case(identifier))
    if as_json:
        print_json(case)
        return
    now = datetime.now(UTC)
    for name in ("id", "kind", "status", "reason", "repeats", "shop"):
        if case.get(name):
            typer.echo(f"{name + ':':<12}{clean(case[name])}")
    for name, words in _TIMES.items():
        if case.get(name):
            typer.echo(f"{words + ':':<12}{moment(read_time(case[name]), now)}")
    typer.echo()
    show_table(("STEP", "STATE", "ROWS"), [_step(step) for step in case["steps"]])
    if case["receipt"]:
        typer.echo(
            f"\nreceipt signed with key {case['receipt']['key']}; check it: shopbus privacy verify {case['id']}"
        )


@app.command("export")
def export(
    identifier: CaseArgument,
    to: Annotated[Path | None, typer.Option("--to", help="The file to write; default ID.zip.")] = None,
    *,
    url: UrlOption = None,
) -> None:
    """Write the file that the merchant gives to the customer. It counts as given then: the case is over."""
    file = to or Path(f"{identifier}.zip")
    if file.exists():
        raise BadInput(f"{file} is there already")
    content = with_api(url, lambda api: api.privacy_export(identifier))
    try:
        file.touch(mode=0o600)
        file.write_bytes(content)
    except OSError as error:
        raise BadInput(f"cannot write {file}: {error.strerror}") from None
    typer.echo(f"{file}: {len(content):,} bytes, data.json for programs and data.html to read")


@app.command("verify")
def verify_receipt(
    receipt: Annotated[
        str, typer.Argument(metavar="ID|FILE", help="A case's id, or a file with its receipt.")
    ],
    key: Annotated[
        str | None, typer.Option("--key", help="The public key; default that of SERVICE_KEY.")
    ] = None,
    shop: Annotated[str | None, typer.Option("--shop", help="Also: is it about this shop?")] = None,
    customer: Annotated[
        str | None, typer.Option("--customer", help="Also: is it about this customer's id?")
    ] = None,
    *,
    url: UrlOption = None,
) -> None:
    """Check that a receipt is genuine and unchanged; exit code 1 if not."""
    given = _receipt(receipt, url)
    public = key or _keys().public
    try:
        verify(given, public)
        _require_about(given, shop, customer)
    except InvalidReceipt as error:
        typer.echo(f"NOT genuine: {error}")
        raise typer.Exit(1) from None
    typer.echo(
        f"genuine: {given['kind']} {given['outcome']}, finished {given['finished_at']} (case {given['case']})"
    )


@app.command("key")
def show_key() -> None:
    """Print the public key with which anybody can check receipts."""
    typer.echo(_keys().public)


def _keys() -> PrivacyKeys:
    settings = CliSettings.read()
    settings.require("SERVICE_KEY")
    assert settings.service_key is not None  # noqa: S101 - required in the line above
    return PrivacyKeys(settings.service_key)


def _receipt(named: str, url: str | None) -> Json:
    file = Path(named)
    if not file.is_file():
        found: Json | None = with_api(url, lambda api: api.privacy_case(named))["receipt"]
        if found is None:
            raise BadInput("the case has no receipt yet")
        return found
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise BadInput(f"{file} cannot be read as JSON") from None
    given = content.get("receipt", content) if isinstance(content, dict) else None
    if not isinstance(given, dict) or not {"kind", "outcome", "finished_at", "case"} <= given.keys():
        raise BadInput(f"{file} holds no receipt")
    return given


def _require_about(given: Json, shop: str | None, customer: str | None) -> None:
    if shop is not None and given["shop"] != _keys().shop(shop).hex():
        raise InvalidReceipt(f"it is not about {shop}")
    if customer is not None:
        if shop is None:
            raise BadInput("--customer needs --shop: a customer is one of a shop")
        if given["subject"] != _keys().customer(shop, "customer", customer).hex():
            raise InvalidReceipt(f"it is not about the customer {customer} of {shop}")


def _row(case: Json, now: datetime) -> tuple[object, ...]:
    shop = (case["shop"] or "(erased)").removesuffix(".myshopify.com")
    due = read_time(case["due_at"])
    left = "-" if case["ended_at"] or due is None else f"{(due - now).days} days left"
    return (case["id"], case["kind"], shop, case["status"], ago(read_time(case["requested_at"]), now), left)


def _step(step: Json) -> tuple[object, ...]:
    state = "answered" if step["answered_at"] else "asked" if step["asked_at"] else "waits"
    rows = ", ".join(f"{table} {number:,}" for table, number in (step["rows"] or {}).items())
    return (step["service"], state, rows or "-")
