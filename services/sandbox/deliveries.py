"""One webhook as it goes over the wire: what it is about, its ids, its headers, its signature."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from libs.common.clock import Clock
from services.sandbox.payloads import action_of, encode, event, handle_for, payload, resource_of


class Format(StrEnum):
    """The two header families: classic webhooks, and next-generation events (developer preview)."""

    CLASSIC = "classic"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook on its way to one address. Retries and copies of it keep all of this."""

    topic: str
    shop: str
    body: bytes
    triggered_at: datetime
    webhook_id: str  # one per delivery: what receivers deduplicate by
    event_id: str  # one per action of the merchant: shared between topics
    resource_id: str = ""
    name: str | None = None  # of the subscription
    uri: str | None = None  # None: the sender's own address


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: the n-th delivery goes to the n-th shop, round and round."""

    topic: str
    shops: Sequence[str]
    seed: int
    clock: Clock
    format: Format = Format.CLASSIC
    body: bytes | None = None  # instead of a made-up payload

    def delivery(self, number: int) -> Delivery:
        """The delivery with this number, as of now; its ids are new each time it is asked for."""
        shop, now = self.shops[number % len(self.shops)], self.clock.now()
        body, resource_id = self._content(shop, number, now)
        return Delivery(self.topic, shop, body, now, str(uuid4()), str(uuid4()), resource_id)

    def _content(self, shop: str, number: int, now: datetime) -> tuple[bytes, str]:
        if self.body is not None:
            return self.body, ""
        data = payload(self.topic, shop, seed=self.seed, number=number, now=now)
        resource_id = str(data.get("admin_graphql_api_id", ""))
        return encode(event(self.topic, data) if self.format is Format.NEXT else data), resource_id


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes the headers of a delivery; holds the app's secret, which is why it shows nothing of itself."""

    secret: bytes
    api_version: str
    format: Format = Format.CLASSIC

    def __repr__(self) -> str:
        return f"Signer({self.format}, {self.api_version})"

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Only the body is signed; Shopify's other headers are not."""
        digest = hmac.new(self.secret, delivery.body, hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode()
        family = self._next if self.format is Format.NEXT else self._classic
        return {"Content-Type": "application/json", **family(delivery, signature)}

    def _classic(self, delivery: Delivery, signature: str) -> dict[str, str]:
        return {
            "X-Shopify-Topic": delivery.topic,
            "X-Shopify-Hmac-Sha256": signature,
            "X-Shopify-Shop-Domain": delivery.shop,
            "X-Shopify-API-Version": self.api_version,
            "X-Shopify-Webhook-Id": delivery.webhook_id,
            "X-Shopify-Event-Id": delivery.event_id,
            "X-Shopify-Triggered-At": _instant(delivery.triggered_at),
            **({"X-Shopify-Name": delivery.name} if delivery.name else {}),
        }

    def _next(self, delivery: Delivery, signature: str) -> dict[str, str]:
        return {
            "shopify-topic": resource_of(delivery.topic),
            "shopify-action": action_of(delivery.topic),
            "shopify-handle": handle_for(delivery.topic),
            "shopify-resource-id": delivery.resource_id,
            "shopify-hmac-sha256": signature,
            "shopify-shop-domain": delivery.shop,
            "shopify-api-version": self.api_version,
            "shopify-webhook-id": delivery.webhook_id,
            "shopify-event-id": delivery.event_id,
            "shopify-triggered-at": _instant(delivery.triggered_at),
        }


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"  # UTC with nanoseconds, as Shopify writes this header


def store_domain(name: str) -> str:
    """`sandbox-007` is short for `sandbox-007.myshopify.com`."""
    return name if "." in name else f"{name}.myshopify.com"


def sandbox_shops(count: int) -> list[str]:
    """The first shops of the sandbox: `sandbox-001.myshopify.com` and so on."""
    return [store_domain(f"sandbox-{number:03d}") for number in range(1, count + 1)]
