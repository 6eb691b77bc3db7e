"""`shopbus tokens`: takes in tokens of an older app, and gives those without expiry one."""

import sys
from typing import Annotated

import typer

from services.cli.errors import BadInput
from services.cli.screen import clean

app = typer.Typer(help="Move shops' tokens from an older app, and to tokens that expire.")

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("import")
def take_in(
    table: Annotated[str, typer.Argument(metavar="TABLE", help='In DATABASE_URL, e.g. public."Session".')],
    *,
    shop: Annotated[str, typer.Option("--shop-column", help="The shop's domain.")] = "shop",
    token: Annotated[str, typer.Option("--token-column", help="The access token, in plain.")] = "accessToken",  # noqa: S107
    scopes: Annotated[str, typer.Option("--scopes-column", help="Granted scopes; may be missing.")] = "scope",
    refresh: Annotated[
        str, typer.Option("--refresh-column", help="The refresh token; may be missing.")
    ] = "refreshToken",
    online: Annotated[
        str, typer.Option("--online-column", help="True for rows to leave out; may be missing.")
    ] = "isOnline",
    dry_run: DryRunOption = False,
) -> None:
    """Take in the offline tokens of a table, sealed. Shops that auth knows already stay as they are."""
    from services.auth.upkeep_store import Columns  # noqa: PLC0415 - other commands need not wait for auth
    from services.cli import token_work  # noqa: PLC0415 - as above

    columns = Columns(shop, token, scopes, refresh, online)
    if dry_run:
        found = token_work.run(lambda tools: token_work.plain_tokens(tools, table, columns))
        typer.echo(f"{found:,} offline tokens in {clean(table)}")
        return
    taken, known = token_work.run(lambda tools: token_work.adopt(tools, table, columns))
    typer.echo(
        f"{taken:,} taken in; {known:,} shops were known already. The table still holds them in plain."
    )


@app.command("migrate")
def migrate(*, dry_run: DryRunOption = False, yes: YesOption = False) -> None:
    """Turn tokens without expiry into expiring ones, for good. Can be broken off and begun again."""
    from services.cli import token_work  # noqa: PLC0415 - as above

    shops = token_work.run(token_work.shops_to_expire)
    typer.echo(f"{len(shops):,} shops have a token without expiry")
    if dry_run or not shops:
        return
    _confirm(len(shops), yes=yes)
    done, failed = token_work.run(token_work.expire)
    typer.echo(f"{done:,} have an expiring token now")
    for shop, why in failed.items():
        typer.echo(f"{shop}: {clean(why)}", err=True)
    if failed:
        raise typer.Exit(1)


def _confirm(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"nobody to ask: say --yes to change the tokens of {count:,} shops")
    typer.confirm(f"Change the tokens of {count:,} shops? The old ones stop working.", abort=True)
