"""`shopbus send pixel`: play shoppers' browsers against a running shopbus."""

from dataclasses import dataclass, replace
from secrets import randbits
from typing import Annotated, Any

import typer
from yarl import URL

from libs.common.clock import SystemClock
from libs.common.service import start, until_signalled
from libs.common.shopify.access_tokens import AppCredentials
from services.cli.api import JsonOption
from services.cli.config import CliSettings
from services.cli.errand import knock, progress
from services.cli.errors import BadInput
from services.cli.filters import shop_name
from services.cli.jobs import print_json
from services.cli.outcome import pixel_lines
from services.cli.pixel_keys import find_keys
from services.cli.receivers import receiver
from services.sandbox.deliveries import sandbox_shops
from services.sandbox.pixel_sender import PixelLoad, PixelSender, PixelTally
from services.sandbox.sender import Patience, open_session

_RECEIVER = "/ingest/v1/events"
_MOST_AT_ONCE = 500  # INGEST_EVENTS of an ingest that has no other
_PATIENCE = Patience(connect=3.0, total=15.0)


def pixel(
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="How many events.")] = 20,
    shops: Annotated[int, typer.Option("--shops", min=1, help="For how many sandbox shops, in turn.")] = 1,
    shop: Annotated[str | None, typer.Option("--shop", help="For this one: sandbox-007 or a domain.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Public key of the shop's pixel; found or made without it.")
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=_MOST_AT_ONCE, help="Events of a shopper in one request.")
    ] = 10,
    rate: Annotated[float | None, typer.Option("--rate", min=0.01, help="Events a second.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", help=f"Default http://127.0.0.1:$PORT{_RECEIVER}.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=5_000, help="Requests in flight.")
    ] = 10,
    broken: Annotated[
        float, typer.Option("--broken", min=0, max=1, help="Share of events that cannot be kept.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed makes the same shoppers.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send what shoppers' browsers do: visits from page to purchase, in batches, again after 429 and 5xx."""
    if key and shops > 1:
        raise BadInput("--key is the key of one shop: leave out --shops")
    settings = CliSettings.read()
    named = [shop_name(shop)] if shop else sandbox_shops(shops)
    load = PixelLoad(
        dict.fromkeys(named, key or ""), count, batch, randbits(32) if seed is None else seed, rate, broken
    )
    errand = PixelErrand(
        receiver(url or settings.base_url, _RECEIVER), load, concurrency, None if key else _app(settings)
    )
    summary = errand.run(quiet=as_json)
    if as_json:
        print_json(summary)
    else:
        for line in pixel_lines(summary):
            typer.echo(line)
    if summary["refused"] or summary["interrupted"]:
        raise typer.Exit(130 if summary["interrupted"] else 1)


@dataclass(frozen=True, slots=True)
class PixelErrand:
    """What to send, where, and as which app to ask for keys; None where they are known."""

    url: str
    load: PixelLoad
    concurrency: int
    app: AppCredentials | None

    def run(self, *, quiet: bool) -> dict[str, Any]:
        """Sends everything, or as much as is possible before Ctrl-C; returns the summary."""
        tally = PixelTally()
        start(until_signalled(self._send(tally, quiet=quiet)))
        return {
            **tally.summary(SystemClock().monotonic()),
            "shops": list(self.load.keys),
            "seed": self.load.seed,
            "url": self.url,
            "interrupted": tally.ended < self.load.count,
        }

    async def _send(self, tally: PixelTally, *, quiet: bool) -> None:
        await knock(self.url, _PATIENCE.connect)
        load = self.load
        if self.app is not None:
            load = replace(load, keys=await find_keys(URL(self.url), self.app, list(load.keys)))
        async with (
            open_session(_PATIENCE, self.concurrency) as http,
            progress(lambda: tally.ended, lambda: load.count, quiet=quiet),
        ):
            sender = PixelSender(http, self.url, SystemClock(), tally, concurrency=self.concurrency)
            await sender.send(load)


def _app(settings: CliSettings) -> AppCredentials:
    if not settings.shopify_api_key:
        raise BadInput("no SHOPIFY_API_KEY: set it, or give the pixel's key with --key")
    return AppCredentials(settings.shopify_api_key, settings.require("SHOPIFY_API_SECRET"))
