"""`shopbus lost`: proof that nothing of what a shop sent is missing, or the list."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated

import typer

from libs.common.errors import ShopbusError
from services.cli.api import Api, Json, JsonOption, UrlOption, with_api
from services.cli.errors import Refused
from services.cli.filters import shop_name
from services.cli.jobs import print_json
from services.cli.screen import clean, duration, moment, parse_since, read_time, show_table

_HOURS = ("HOUR", "OF", "AT SHOPIFY", "ARRIVED", "RECONCILED", "MISSING", "LATE", "CHECKED")
_LOST = ("CHANGED", "TOPIC", "ID", "WHAT BECAME OF IT")
_LOOK_SECONDS = 1.0  # between two looks whether a run has ended
_MOST_SHOWN = 20
_PROBLEM = 2  # the exit code; 1 is for what is missing

_ShopOption = Annotated[
    str, typer.Option("--shop", metavar="SHOP", help="A shop; sandbox-007 is short for its domain.")
]
_SinceOption = Annotated[
    str, typer.Option("--since", metavar="TIME", help="From then on: 15m, 2h, 3d or an ISO time.")
]
_UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Up to then; now, if left out.")
]
_FixOption = Annotated[
    bool, typer.Option("--fix", help="Compare with Shopify now, and feed what is missing.")
]
_WaitOption = Annotated[float, typer.Option("--wait", min=1, help="Seconds that --fix waits at most.")]


def lost(
    shop: _ShopOption,
    since: _SinceOption = "1d",
    until: _UntilOption = None,
    *,
    fix: _FixOption = False,
    wait: _WaitOption = 600.0,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Prove that nothing a shop sent is missing (exit code 0), or list what is (1); 2 where that cannot be told."""
    try:
        found = _found(shop, since, until, fix=fix, wait=wait, url=url)
    except ShopbusError as error:
        typer.echo(f"shopbus: {error}", err=True)
        raise typer.Exit(_PROBLEM) from None
    _show(found, as_json=as_json)
    if found["verdict"] != "complete":
        raise typer.Exit(1)


def _found(shop: str, since: str, until: str | None, *, fix: bool, wait: float, url: str | None) -> Json:
    name, now = shop_name(shop), datetime.now(UTC)
    query = {"shop": name, "since": parse_since(since, now).isoformat()}
    if until is not None:
        query["until"] = parse_since(until, now).isoformat()

    async def ask(api: Api) -> Json:
        if fix:
            await _fix(api, name, wait)
        return await api.reconciliation(query)

    return with_api(url, ask)


async def _fix(api: Api, shop: str, wait: float) -> None:
    """Waits until a run that began after the question has ended; raises `Refused` where it broke off."""
    asked = (await api.reconcile(shop))["asked_at"]
    until = monotonic() + wait
    while not _has_ended(found := await api.reconciliation_state(shop), asked):
        if monotonic() > until:
            raise Refused(f"the comparison goes on after {duration(wait)}: ask again without --fix")
        await asyncio.sleep(_LOOK_SECONDS)
    if found["error"]:
        raise Refused(f"the comparison broke off: {clean(found['error'])}")


def _has_ended(found: Json, asked: str) -> bool:
    """A run that was under way already leaves the shop due since the question."""
    ended, due, begun = (read_time(text) for text in (found["ended_at"], found["due_at"], asked))
    if found["checking"] or ended is None or due is None or begun is None:
        return False
    return ended >= begun and due > begun


def _show(found: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    now = datetime.now(UTC)
    hours = [_hour(one, now) for one in found["hours"] if one["at_shopify"]]
    if hours:
        show_table(_HOURS, hours)
        typer.echo()
    if found["lost"]:
        show_table(_LOST, [_one(one, now) for one in found["lost"][:_MOST_SHOWN]])
        _tell_more(found)
        typer.echo()
    for sentence in sentences(found, now):
        typer.echo(sentence)


def _tell_more(found: Json) -> None:
    more = len(found["lost"]) - _MOST_SHOWN
    if more > 0:
        typer.echo(f"and {more}{' or more' if found['more_lost'] else ''} others, see --json")


def _hour(one: Json, now: datetime) -> tuple[object, ...]:
    counts = (one[name] for name in ("at_shopify", "arrived", "reconciled", "missing", "late"))
    return (_at(one["hour"]), one["family"], *counts, moment(read_time(one["checked_at"]), now))


def _one(one: Json, now: datetime) -> tuple[object, ...]:
    if one["message_id"] is None:
        became = f"missing: {one['problem']}"
    else:
        late = f"; came late, {moment(read_time(one['late_at']), now)}" if one["late_at"] else ""
        became = f"fed, shopbus why {one['message_id']}{late}"
    return (_at(one["updated_at"]), one["topic"], one["resource_id"], became)


def sentences(found: Json, now: datetime) -> Iterator[str]:
    """The verdict first, then what limits it."""
    compared = [one for one in found["families"] if one["compared"]]
    sums = {
        name: sum(one[name] for one in compared) for name in ("at_shopify", "arrived", "reconciled", "late")
    }
    yield _VERDICTS[found["verdict"]].format(
        **sums, **_span(found), missing=sum(one["missing"] for one in compared), hours=len(found["unproven"])
    )
    yield f"Compared: {', '.join(one['family'] for one in compared) or 'nothing'}; last {_checked(found, now)}."
    for one in found["families"]:
        if not one["compared"]:
            yield f"Not compared: {one['family']}, since {clean(one['why'])}."
    if found["error"]:
        yield f"The last comparison broke off: {clean(found['error'])}"
    if found["listening_since"] == found["since"]:
        yield f"Before {_at(found['since'])} nothing was sent: the app was not installed, or not subscribed yet."


def _span(found: Json) -> Mapping[str, str]:
    return {"since": _at(found["since"]), "until": _at(found["proven_until"])}


def _checked(found: Json, now: datetime) -> str:
    return moment(read_time(found["checked_at"]), now) if found["checked_at"] else "never"


def _at(text: str) -> str:
    when = read_time(text)
    return f"{when:%d %b %H:%M:%S}" if when else "-"


_VERDICTS = {
    "complete": (
        "Nothing is missing from {since} to {until}: of {at_shopify} changed at Shopify, {arrived} arrived ({late} of "
        "them late), and {reconciled} did not and were fed."
    ),
    "missing": "MISSING: {missing} of {at_shopify} changed at Shopify since {since} did not come and could not be fed.",
    "unproven": "NOT PROVEN: {hours} hours since {since} have not been compared with Shopify yet.",
    "too_early": "Nothing can be said yet: what happened since {since} has not been compared with Shopify.",
}
