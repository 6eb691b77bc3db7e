"""Deliveries made up for tests of what a consumer does with them."""

from datetime import UTC, datetime
from uuid import UUID

from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane
from libs.common.runtime.work import POSTGRES, Delivery

_ANY_ID = UUID(int=7 << 76)


def delivery(
    lane: Lane = Lane.DEFAULT,
    *,
    identifier: UUID = _ANY_ID,
    source: str = "webhooks",
    message_type: str = "webhook.orders.create",
) -> Delivery:
    """One message in hand."""
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    message = Message(identifier, message_type, source, "a.myshopify.com", moment, b"{}")
    return Delivery(message, lane, POSTGRES, lease_ends=0.0)
