"""Which messages: the filter that `jobs ls` and `replay` share."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from services.cli.errors import BadInput
from services.cli.screen import parse_since
from services.sandbox.deliveries import store_domain


class Status(StrEnum):
    """The five places a message can be in."""

    PENDING = "pending"
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


StatusOption = Annotated[Status | None, typer.Option("--status", help="Only messages in this place.")]
TypeOption = Annotated[
    str | None,
    typer.Option("--type", metavar="TYPE", help="webhook.orders.create, or a topic: orders/create."),
]
ShopOption = Annotated[
    str | None, typer.Option("--shop", metavar="SHOP", help="A shop; sandbox-007 is short for its domain.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Accepted since: 15m, 2h, 3d or an ISO time.")
]


def query(status: Status | None, kind: str | None, shop: str | None, since: str | None) -> dict[str, str]:
    """The filter as the job API reads it."""
    wanted = {
        "status": status.value if status else None,
        "type": message_type(kind) if kind else None,
        "shop": shop_name(shop) if shop else None,
        "since": parse_since(since, datetime.now(UTC)).isoformat() if since else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def shop_name(text: str) -> str:
    """A shop's domain; raises `BadInput` for what cannot be one."""
    try:
        return shop_domain(store_domain(text))
    except InvalidShopDomain:
        raise BadInput(f"{text!r} is not a shop: it looks like sandbox-007.myshopify.com") from None


def short_type(kind: str) -> str:
    """A message type as it is quickest typed: a webhook by its topic."""
    prefix, _, topic = kind.partition(".")
    return topic.replace(".", "/", 1) if prefix == "webhook" and topic else kind


def message_type(text: str) -> str:
    """A message type; a topic with its slash stands for the webhook of that topic."""
    return f"webhook.{text.replace('/', '.')}" if "/" in text else text
