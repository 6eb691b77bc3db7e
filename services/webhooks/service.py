"""What services/webhooks does with a delivery: believe its signature, read its claims, commit it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from libs.common.contracts.envelope import Draft, Receipt, origin_of
from libs.common.deadlines import Deadlines
from libs.common.errors import DatabaseAway, ShopbusError
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.shopify.signatures import Signer, WebhookVerifier
from libs.common.shopify.webhook_headers import (
    InvalidHeader,
    InvalidShop,
    MissingHeader,
    Presented,
    WebhookHeaders,
    present,
    read,
)
from services.webhooks import metrics

DEFAULT_CONTENT_TYPE = "application/json"
RECONCILED_KEY = "reconciled:"
"""What a key of our own begins with (reconcile_feed.py)."""

# Whose shop a payload speaks of, for the topics that cost a shop its data or its installation (SHOPIFY 4.1).
SHOP_FIELDS = {
    "webhook.customers.data_request": "shop_domain",
    "webhook.customers.redact": "shop_domain",
    "webhook.shop.redact": "shop_domain",
    "webhook.app.uninstalled": "myshopify_domain",
}


class Reason(StrEnum):
    """Every cause for which a request is not answered with 200."""

    METHOD = "method"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    INCOMPLETE = "incomplete"
    MISSING_HEADER = "missing_header"
    EMPTY_BODY = "empty_body"
    HMAC = "hmac"
    INVALID_HEADER = "invalid_header"
    INVALID_SHOP = "invalid_shop"
    SHOP_MISMATCH = "shop_mismatch"
    DATABASE_AWAY = "database_away"
    FAULT = "fault"  # ours: answered with 500, so that Shopify sends it again


class Rejected(ShopbusError):
    """A request that is no delivery of Shopify's to this app."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Accepts(Protocol):
    """What is needed of `libs.common.outbox.producer.Producer`."""

    async def accept(self, draft: Draft) -> Receipt:
        """Returns after the commit; raises `DatabaseAway`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery whose signature was right."""

    claims: WebhookHeaders
    headers: Mapping[str, str]  # as received, for the deliveries log
    body: bytes


def examine(headers: Iterable[tuple[str, str]], body: bytes, verifier: WebhookVerifier) -> Delivery:
    """Presence, then the signature, then the rest; raises `Rejected`."""
    try:
        presented = present(headers)
        _verify(presented, body, verifier)
        delivery = Delivery(read(presented), presented.kept, body)
    except MissingHeader as error:
        raise Rejected(Reason.MISSING_HEADER, str(error)) from error
    except InvalidShop as error:
        raise Rejected(Reason.INVALID_SHOP, str(error)) from error
    except InvalidHeader as error:
        raise Rejected(Reason.INVALID_HEADER, str(error)) from error
    _refuse_ours(delivery.claims)
    if delivery.claims.message_type in SHOP_FIELDS:
        _refuse_other_shop(delivery)
    return delivery


def _verify(presented: Presented, body: bytes, verifier: WebhookVerifier) -> None:
    if not body:
        raise Rejected(Reason.EMPTY_BODY, "the body is empty")
    signer = verifier.signer(body, presented.signature)
    metrics.VERIFIED_BY[signer].inc()
    if signer is Signer.NONE:
        raise Rejected(Reason.HMAC, "the signature does not match the body")


def _refuse_ours(claims: WebhookHeaders) -> None:
    """The headers are not signed: nobody shall pass for the reconciler, or keep its messages out as duplicates."""
    if claims.webhook_id.startswith(RECONCILED_KEY):
        raise Rejected(Reason.INVALID_HEADER, "Webhook-Id is none of Shopify's")
    if origin_of(claims.api_version):
        raise Rejected(Reason.INVALID_HEADER, "Api-Version is none of Shopify's")


def _refuse_other_shop(delivery: Delivery) -> None:
    """The signature covers the body alone, so a signed body of one shop could be sent again in another's name.

    The body must have the topic's field for its shop. Where that holds no shop, as in Shopify's samples, where it is
    null or a placeholder, there is nothing to compare.
    """
    name = SHOP_FIELDS[delivery.claims.message_type]
    try:
        payload = json.loads(delivery.body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict) or name not in payload:
        raise Rejected(Reason.SHOP_MISMATCH, f"the body of {delivery.claims.topic} has no {name}")
    try:
        named = shop_domain(str(payload[name]))
    except InvalidShopDomain:
        return
    if named != delivery.claims.shop:
        raise Rejected(Reason.SHOP_MISMATCH, f"the body's {name} is another shop than the header's")


def draft(delivery: Delivery, traceparent: str | None = None) -> Draft:
    """The message a delivery becomes: its body untouched, its headers for the deliveries log."""
    claims = delivery.claims
    return Draft(
        type=claims.message_type,
        body=delivery.body,
        shop=claims.shop,
        key=claims.webhook_id,
        time=claims.triggered_at,
        subject=claims.resource_id,
        dataschema=claims.api_version,
        content_type=delivery.headers.get("content-type") or DEFAULT_CONTENT_TYPE,
        traceparent=traceparent,
        correlation_id=claims.event_id,
        headers=delivery.headers,
    )


async def keep(
    delivery: Delivery, producer: Accepts, deadlines: Deadlines, *, traceparent: str | None = None
) -> Receipt:
    """Commits a delivery; raises `DatabaseAway` where that could not be done in time.

    It may still be committed after that. Shopify then sends it again, and gets the same id back.
    """
    try:
        return await deadlines.within(producer.accept(draft(delivery, traceparent)))
    except TimeoutError as error:
        raise DatabaseAway("the commit took too long") from error


def count(delivery: Delivery, receipt: Receipt, now: datetime) -> None:
    """Counts a delivery that was answered with 200."""
    claims = delivery.claims
    meters = metrics.meters(claims.topic, claims.format)
    meters.received.inc()
    (meters.duplicate if receipt.duplicate else meters.accepted).inc()
    meters.last_accepted.set(now.timestamp())
    if claims.triggered_at is not None and not receipt.duplicate:
        meters.trigger_to_receipt.observe(max(0.0, (now - claims.triggered_at).total_seconds()))
