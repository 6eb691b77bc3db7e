"""`shopbus tokens`: takes in those of an older app, gives them an expiry, and renews them for a new client secret."""

import sys
from typing import Annotated

import typer

from services.cli.errors import BadInput
from services.cli.screen import clean

app = typer.Typer(
    help="Move shops' tokens: from an older app, to tokens that expire, to another client secret."
)

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
    _complain(failed)
    if failed:
        raise typer.Exit(1)


@app.command("refresh")
def refresh(
    *,
    rate: Annotated[float, typer.Option(min=0.1, max=100, help="Shops a second, at most.")] = 5.0,
    dry_run: DryRunOption = False,
) -> None:
    """Renew the tokens that another client secret made, before it is revoked. Can be broken off and begun again."""
    from services.cli import token_refresh, token_work  # noqa: PLC0415 - as above

    shops = token_work.run(token_refresh.shops_left)
    typer.echo(f"{len(shops):,} shops have a token that SHOPIFY_API_SECRET did not make")
    if dry_run:
        return
    refreshed = token_work.run(lambda tools: token_refresh.refresh(tools, rate))
    typer.echo(
        f"{refreshed.done:,} were renewed; {refreshed.online:,} sessions of staff ended until their next page load"
    )
    _complain(refreshed.failed)
    if meanwhile := refreshed.left - len(refreshed.failed):
        typer.echo(
            f"{meanwhile:,} are of another secret again: every auth process needs the new SHOPIFY_API_SECRET first",
            err=True,
        )
    if refreshed.left:
        raise typer.Exit(1)


def _complain(failed: dict[str, str]) -> None:
    for shop, why in failed.items():
        typer.echo(f"{shop}: {clean(why)}", err=True)


def _confirm(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"nobody to ask: say --yes to change the tokens of {count:,} shops")
    typer.confirm(f"Change the tokens of {count:,} shops? The old ones stop working.", abort=True)
