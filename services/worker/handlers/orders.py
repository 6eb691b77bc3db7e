"""Keeps a mirror of each shop's orders. The model for handlers of your own.

Shopify delivers in any order, late, and more than once (SHOPIFY 4.3). So a payload counts only if it is not older than
what is kept, and a deleted order leaves a tombstone that an older payload cannot bring back to life.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.worker.sdk import Context, Message, Never, on

_AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_LARGEST_ID = 2**63 - 1
_DELIVERIES = {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial", "RESTOCKED": "restocked"}
"""The Admin API's words for what webhooks know; all others are none to them."""

# A payload may be partial (`include_fields`): what it does not name stays as it is. Two payloads of the same second
# are told apart by when Shopify triggered them, and the same payload again changes nothing.
KEEP_ORDER = """
INSERT INTO worker.orders AS o
    (shop, order_id, name, currency, total_price, financial_status, fulfillment_status, cancelled_at,
     deleted, updated_at, triggered_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (shop, order_id) DO UPDATE SET
    name = CASE WHEN 'name' = ANY ($12::text[]) THEN excluded.name ELSE o.name END,
    currency = CASE WHEN 'currency' = ANY ($12) THEN excluded.currency ELSE o.currency END,
    total_price = CASE WHEN 'total_price' = ANY ($12) THEN excluded.total_price ELSE o.total_price END,
    financial_status =
        CASE WHEN 'financial_status' = ANY ($12) THEN excluded.financial_status ELSE o.financial_status END,
    fulfillment_status =
        CASE WHEN 'fulfillment_status' = ANY ($12) THEN excluded.fulfillment_status ELSE o.fulfillment_status END,
    cancelled_at = CASE WHEN 'cancelled_at' = ANY ($12) THEN excluded.cancelled_at ELSE o.cancelled_at END,
    deleted = excluded.deleted, updated_at = excluded.updated_at, triggered_at = excluded.triggered_at
WHERE (excluded.updated_at, excluded.triggered_at) >= (o.updated_at, o.triggered_at)
"""


# orders/edited is not among them: it tells of line items only, and the orders/updated beside it has the new totals.
@on(
    "webhook.orders.create",
    "webhook.orders.updated",
    "webhook.orders.paid",
    "webhook.orders.cancelled",
    "webhook.orders.fulfilled",
    "webhook.orders.partially_fulfilled",
    together=50,
)
async def keep_order(message: Message, ctx: Context) -> None:
    """Keeps what the payload says of its order, unless something newer is kept."""
    await _keep(message, ctx, _order(message), deleted=False)


@on("webhook.orders.delete", together=50)
async def bury_order(message: Message, ctx: Context) -> None:
    """Marks the order as deleted, even where it was never seen: its creation may still be on the way."""
    await _keep(message, ctx, {"id": _order(message)["id"]}, deleted=True)


@on("backfill.orders", together=50)
async def keep_fetched_order(message: Message, ctx: Context) -> None:
    """Keeps what a backfill fetched. Its time is when Shopify began to collect: a webhook since then is newer."""
    await _keep(message, ctx, _as_webhooks_tell(message), deleted=False)


async def _keep(message: Message, ctx: Context, order: Mapping[str, Any], *, deleted: bool) -> None:
    values = (
        message.shop, order["id"], _text(order, "name"), _text(order, "currency"), _amount(order, "total_price"),
        _text(order, "financial_status"), _text(order, "fulfillment_status"), _moment(order, "cancelled_at"),
        deleted, _moment(order, "updated_at") or message.time, message.time, list(order),
    )  # fmt: skip
    async with ctx.transaction() as tx:
        await tx.execute(KEEP_ORDER, *values)


def _as_webhooks_tell(message: Message) -> Mapping[str, Any]:
    """An order of the Admin API in the words of webhooks; raises `Never` for what is none."""
    order = message.json()
    try:
        price = order["totalPriceSet"]["shopMoney"]["amount"]
        identifier = int(order["id"].removeprefix("gid://shopify/Order/"))
        payment, delivery = order["displayFinancialStatus"], order["displayFulfillmentStatus"]
        fetched = {
            "id": identifier,
            "name": order["name"],
            "currency": order["currencyCode"],
            "total_price": price,
            "financial_status": payment and payment.lower(),
            "fulfillment_status": _DELIVERIES.get(delivery),
            "cancelled_at": order["cancelledAt"],
            "updated_at": order["updatedAt"],
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Never("the payload is not an order as a backfill fetches it") from None
    return _checked(message, fetched)


def _order(message: Message) -> Mapping[str, Any]:
    """The payload, with an id that can be kept; raises `Never` for what no retry will mend."""
    return _checked(message, message.json())


def _checked(message: Message, order: object) -> Mapping[str, Any]:
    if not isinstance(order, dict):
        raise Never("the payload is not an object")
    if not message.shop:
        raise Never("the message names no shop")
    identifier = order.get("id")
    if type(identifier) is not int or not 0 < identifier <= _LARGEST_ID:
        raise Never("the order has no id that is a whole number")
    return order


def _text(order: Mapping[str, Any], name: str) -> str | None:
    value = order.get(name)
    if value is None or (isinstance(value, str) and "\0" not in value):
        return value
    raise Never(f"{name} is not a text")


def _amount(order: Mapping[str, Any], name: str) -> Decimal | None:
    """Shopify writes money as text. A JSON number has been a float by now, and money must not have been."""
    value = order.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    raise Never(f"{name} is not an amount in decimal digits")


def _moment(order: Mapping[str, Any], name: str) -> datetime | None:
    value = order.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise Never(f"{name} has no offset from UTC")
        return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Never(f"{name} is not a time") from None
