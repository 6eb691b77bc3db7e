"""A message's origin travels in its schema, and nobody outside can give a delivery one."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from libs.common.bus.packing import decode, encode
from libs.common.contracts.envelope import RECONCILED, Message, marked
from libs.common.shopify.signatures import WebhookVerifier, webhook_signature
from services.webhooks.service import RECONCILED_KEY, Reason, Rejected, examine

SECRET, BODY = "secret", b'{"id": 1}'


def headers(**changes: str) -> list[tuple[str, str]]:
    given = {
        "Topic": "orders/create", "Shop-Domain": "one.myshopify.com", "Webhook-Id": str(uuid4()),
        "Api-Version": "2026-10", "Hmac-Sha256": webhook_signature(SECRET, BODY), **changes,
    }  # fmt: skip
    return [(f"X-Shopify-{name}", value) for name, value in given.items()]


@pytest.mark.parametrize(
    "claim", [{"Webhook-Id": f"{RECONCILED_KEY}0123"}, {"Api-Version": marked("2026-10", RECONCILED)}]
)
def test_a_delivery_that_passes_for_the_reconcilers_is_turned_away(claim: dict[str, str]) -> None:
    verifier = WebhookVerifier(SECRET, None)
    examine(headers(), BODY, verifier)
    with pytest.raises(Rejected) as caught:
        examine(headers(**claim), BODY, verifier)
    assert caught.value.reason is Reason.INVALID_HEADER


@pytest.mark.parametrize(
    ("schema", "origin"), [(None, ""), ("2026-10", ""), (marked("2026-10", RECONCILED), "reconciled")]
)
def test_the_origin_travels_with_the_message(schema: str | None, origin: str) -> None:
    sent = Message(uuid4(), "webhook.a.b", "webhooks", "", datetime.now(UTC), BODY, dataschema=schema)
    packet = encode([sent])
    [received] = decode(packet.body, packet.headers, packet.content_type)
    assert (sent.origin, received.origin) == (origin, origin)
