"""`shopbus subscriptions`: which webhooks Shopify sends for each shop, and what keeps it from being the wanted ones."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from services.cli.api import Api, Json, JsonOption, UrlOption, with_api
from services.cli.filters import shop_name
from services.cli.jobs import print_json
from services.cli.screen import ago, clean, moment, read_time, show_table

app = typer.Typer(help="Shops' webhook subscriptions: wanted, actual, and what was repaired.")

_ShopOption = Annotated[
    str, typer.Option("--shop", metavar="SHOP", help="A shop; sandbox-007 is short for its domain.")
]
_COLUMNS = ("TOPIC", "STATE", "PROBLEM")
_SHOPS = ("SHOP", "NOT AS WANTED", "CHECKED", "NEXT", "TROUBLE")


@app.command("ls")
def ls(
    shop: Annotated[str | None, typer.Option("--shop", metavar="SHOP", help="One shop's topics.")] = None,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """All shops with their last check, or one shop's topics with its history."""
    if shop is not None:
        name = shop_name(shop)
        _show(with_api(url, lambda api: api.subscriptions(name)), as_json=as_json)
        return
    shops = with_api(url, _all_shops)
    if as_json:
        for one in shops:
            print_json(one)
    elif shops:
        now = datetime.now(UTC)
        show_table(_SHOPS, [_row(one, now) for one in shops])
    else:
        typer.echo("no shop has installed the app yet", err=True)


@app.command("check")
def check(shop: _ShopOption, *, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Read one shop's subscriptions at Shopify and repair them now; 1 if they are not as wanted after that."""
    name = shop_name(shop)
    found = with_api(url, lambda api: api.check_subscriptions(name))
    _show(found, as_json=as_json)
    if found["error"] or found["drift"]:
        raise typer.Exit(1)


async def _all_shops(api: Api) -> list[Json]:
    return [shop async for shop in api.subscribed_shops()]


def _show(found: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    now = datetime.now(UTC)
    typer.echo(
        f"{clean(found['shop'])} is wanted to send to {clean(found['wanted_uri'] or 'nowhere: no APP_URL')}"
    )
    typer.echo(f"checked {moment(read_time(found['checked_at']), now)}, next {_next(found, now)}")
    if found["error"]:
        typer.echo(f"trouble: {clean(found['error'])}")
    typer.echo()
    topics = [*found["topics"], *found["strangers"]]
    show_table(_COLUMNS, [(one["topic"], one["state"], one["problem"] or "-") for one in topics])
    if found["history"]:
        typer.echo()
        show_table(
            ("WHEN", "TOPIC", "WHAT", "DETAIL"),
            [
                (ago(read_time(one["at"]), now), one["topic"], one["action"], one["detail"])
                for one in found["history"]
            ],
        )


def _next(found: Json, now: datetime) -> str:
    return "never: uninstalled" if found["ended_at"] else ago(read_time(found["due_at"]), now)


def _row(shop: Json, now: datetime) -> tuple[object, ...]:
    name = shop["shop"].removesuffix(".myshopify.com")
    return (
        name,
        shop["not_ok"],
        ago(read_time(shop["checked_at"]), now),
        _next(shop, now),
        shop["error"] or "-",
    )
