"""`shopbus send`: play Shopify against a running shopbus."""

from pathlib import Path
from random import Random
from secrets import randbits
from typing import Annotated

import typer

from libs.common.clock import SystemClock
from services.cli.api import JsonOption
from services.cli.config import CliSettings
from services.cli.errand import Accepted, Errand
from services.cli.errors import BadInput
from services.cli.filters import shop_name
from services.cli.outcome import report
from services.cli.receivers import receiver
from services.cli.send_pixel import pixel
from services.sandbox.deliveries import Format, Plan, Signer, sandbox_shops
from services.sandbox.payloads import check_topic
from services.sandbox.sender import Load, Patience

app = typer.Typer(help="Send what Shopify and shoppers' browsers would send, with their retries.")

_RECEIVER = "/webhooks/shopify"

app.command("pixel")(pixel)


@app.command("webhook")
def webhook(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="orders/create, products/update, any other.")],
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="How many deliveries.")] = 1,
    shops: Annotated[int, typer.Option("--shops", min=1, help="From how many sandbox shops, in turn.")] = 1,
    shop: Annotated[
        str | None, typer.Option("--shop", help="From this one: sandbox-007 or a domain.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0.01, help="Deliveries a second.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Send this body, byte by byte.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", help=f"Default http://127.0.0.1:$PORT{_RECEIVER}.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=5_000, help="Requests in flight.")
    ] = 50,
    style: Annotated[Format, typer.Option("--format", help="Header family.")] = Format.CLASSIC,
    duplicates: Annotated[float, typer.Option("--duplicates", min=0, max=1, help="Share sent twice.")] = 0.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed makes the same resources.")
    ] = None,
    retry_scale: Annotated[
        float, typer.Option("--retry-scale", min=0, help="1: Shopify's 8 retries in 4 h. 0.001: in 14 s.")
    ] = 0.001,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="Write accepted message ids here, one a line.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send signed webhooks the way Shopify does: 1 s to connect, 5 s in all, only 2xx counts, 8 retries."""
    settings = CliSettings.read()
    signer = Signer(settings.require("SHOPIFY_API_SECRET").encode(), settings.shopify_api_version, style)
    seed = randbits(32) if seed is None else seed
    plan = Plan(check_topic(topic), _shops(shops, shop), seed, SystemClock(), style, _body(file))
    errand = Errand(
        url=receiver(url or settings.base_url, _RECEIVER),
        signer=signer,
        plan=plan,
        load=Load(count, rate, duplicates),
        concurrency=concurrency,
        patience=Patience().scaled(retry_scale),
        draw=Random(seed),
    )
    with Accepted.writing_to(ids) as accepted:
        summary = errand.run(accepted, quiet=as_json)
    report({**summary, "seed": seed}, accepted, as_json=as_json)
    if summary["given_up"] or summary["interrupted"]:
        raise typer.Exit(130 if summary["interrupted"] else 1)


def _shops(count: int, one: str | None) -> list[str]:
    return [shop_name(one)] if one else sandbox_shops(count)


def _body(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from None
