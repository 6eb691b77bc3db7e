"""Shopify's door: every delivery is verified, committed, and only then answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from aiohttp import web

from libs.common.clock import Clock
from libs.common.contracts.envelope import Receipt
from libs.common.contracts.subscriptions import WEBHOOK_PATH
from libs.common.deadlines import Deadlines
from libs.common.errors import DatabaseAway
from libs.common.shopify.signatures import WebhookVerifier
from libs.common.shopify.webhook_headers import Format, safe_text
from libs.common.web import BodyIncomplete, BodyTooLarge, BodyTooSlow, Problem, json_response, note, read_body
from services.webhooks import metrics, service
from services.webhooks.config import Settings
from services.webhooks.deletion_risk import DeletionRisk
from services.webhooks.rejected import RejectedLog
from services.webhooks.service import Delivery, Reason, Rejected
from services.webhooks.store import Rejection

ADDRESS = WEBHOOK_PATH
_LONGEST = 255  # characters of anything that a rejected request says of itself
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# App review asks for 401 where the signature is wrong (SHOPIFY 4.2); nothing of ours is ever answered with a 4xx.
STATUS = {
    Reason.METHOD: 405,
    Reason.TOO_LARGE: 413,
    Reason.TOO_SLOW: 408,
    Reason.INCOMPLETE: 400,
    Reason.MISSING_HEADER: 400,
    Reason.EMPTY_BODY: 400,
    Reason.HMAC: 401,
    Reason.INVALID_HEADER: 400,
    Reason.INVALID_SHOP: 400,
    Reason.SHOP_MISMATCH: 401,
}
HEADERS = {
    Reason.METHOD: {"Allow": "POST"},
    Reason.TOO_SLOW: {"Connection": "close"},
    Reason.INCOMPLETE: {"Connection": "close"},
}
_BODY_REASONS: Mapping[type[Problem], Reason] = {
    BodyTooLarge: Reason.TOO_LARGE,
    BodyTooSlow: Reason.TOO_SLOW,
    BodyIncomplete: Reason.INCOMPLETE,
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers, with what they need."""

    settings: Settings
    verifier: WebhookVerifier
    producer: service.Accepts
    rejected: RejectedLog
    deadlines: Deadlines  # for the commit
    clock: Clock
    risk: DeletionRisk

    def routes(self) -> list[web.RouteDef]:
        """Where Shopify sends webhooks to. The second catches every other method, so that it is counted and logged."""
        return [
            web.post(ADDRESS, self.receive),
            web.route("*", ADDRESS, self.refuse_method),
        ]

    async def receive(self, request: web.Request) -> web.Response:
        """Answers 200 once the delivery is committed, or was before."""
        body: bytes | None = None
        try:
            body = await self._body(request)
            delivery = service.examine(request.headers.items(), body, self.verifier)
            receipt = await service.keep(
                delivery, self.producer, self.deadlines, traceparent=_traceparent(request)
            )
        except Rejected as error:
            raise self._rejected(request, error, None if body is None else len(body)) from error
        except Exception as error:
            self._count(request, Reason.DATABASE_AWAY if isinstance(error, DatabaseAway) else Reason.FAULT)
            self.risk.failed(_said(request, "Topic"))
            raise
        self.risk.accepted(delivery.claims.topic)
        service.count(delivery, receipt, self.clock.now())
        _note(request, delivery, receipt)
        return json_response({"id": receipt.id, "duplicate": receipt.duplicate})

    async def refuse_method(self, request: web.Request) -> NoReturn:
        """Answers everything but POST."""
        raise self._rejected(request, Rejected(Reason.METHOD, "only POST is answered here"), None)

    async def _body(self, request: web.Request) -> bytes:
        limit, seconds = self.settings.webhook_body_limit_bytes, self.settings.webhook_body_seconds
        try:
            return await read_body(request, limit=limit, seconds=seconds)
        except (BodyTooLarge, BodyTooSlow, BodyIncomplete) as problem:
            raise Rejected(_BODY_REASONS[type(problem)], problem.detail) from problem

    def _rejected(self, request: web.Request, error: Rejected, body_bytes: int | None) -> Problem:
        """Counts and logs a rejection; returns the answer to it."""
        self._count(request, error.reason)
        note(request, detail=error.detail)
        self.rejected.add(_rejection(request, error, body_bytes, self.clock.now()))
        kind, headers = error.reason.replace("_", "-"), HEADERS.get(error.reason)
        return Problem(STATUS[error.reason], error.detail, kind=kind, headers=headers)

    def _count(self, request: web.Request, reason: Reason) -> None:
        metrics.REJECTED.labels(reason.value).inc()
        family = Format.NEXT if "Shopify-Hmac-Sha256" in request.headers else Format.CLASSIC
        metrics.meters(_said(request, "Topic"), family).received.inc()
        note(request, reason=reason.value)


def _note(request: web.Request, delivery: Delivery, receipt: Receipt) -> None:
    claims = delivery.claims
    note(
        request,
        shop=claims.shop,
        topic=claims.topic,
        webhook_id=claims.webhook_id,
        message_id=receipt.id,
        duplicate=receipt.duplicate,
        body_bytes=len(delivery.body),
    )


def _rejection(request: web.Request, error: Rejected, body_bytes: int | None, at: datetime) -> Rejection:
    return Rejection(
        at=at,
        reason=error.reason.value,
        shop=_said(request, "Shop-Domain"),
        topic=_said(request, "Topic"),
        webhook_id=_said(request, "Webhook-Id"),
        remote=_remote(request),
        user_agent=_short(request.headers.get("User-Agent")),
        body_bytes=body_bytes,
        detail=error.detail,
    )


def _said(request: web.Request, name: str) -> str | None:
    """What an unverified request says of itself, in either family of headers."""
    return _short(request.headers.get(f"Shopify-{name}") or request.headers.get(f"X-Shopify-{name}"))


def _remote(request: web.Request) -> str | None:
    forwarded = request.headers.get("X-Forwarded-For")
    return _short(f"{forwarded} through {request.remote}" if forwarded else request.remote)


def _short(text: str | None) -> str | None:
    return safe_text(text[:_LONGEST]) if text else None


def _traceparent(request: web.Request) -> str | None:
    given = request.headers.get("traceparent")
    return given if given is not None and _TRACEPARENT.fullmatch(given) else None
