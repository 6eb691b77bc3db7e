"""The message as it travels: CloudEvents 1.0 attributes around the raw bytes that were received."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.common.contracts.topology import Lane
from libs.common.errors import ShopbusError

RECONCILED = "reconciled"
"""The origin of a message that stands for a webhook which did not come: its payload was asked of the Admin API."""


class InvalidBody(ShopbusError):
    """The message's body is not what its type promises; no retry will mend it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message in a consumer's hand. `attempt` starts at 1."""

    id: UUID
    type: str
    source: str  # the schema whose outbox holds it
    shop: str  # the myshopify.com domain, or "" where no shop is concerned
    time: datetime
    body: bytes
    subject: str | None = None
    dataschema: str | None = None
    content_type: str = "application/json"
    traceparent: str | None = None
    correlation_id: str | None = None
    attempt: int = 1

    @property
    def origin(self) -> str:
        """How it came to be, where that is not the usual way: `reconciled`, else empty."""
        return origin_of(self.dataschema)

    def json(self) -> Any:
        """The body as JSON.

        Raises `InvalidBody` if it is not JSON, which sends the message straight to `failed`.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise InvalidBody(f"the body of {self.type} is not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is about to be accepted. What is None is filled in by the producer."""

    type: str
    body: bytes
    shop: str = ""
    key: str | None = None  # idempotency key: a second draft with the same (shop, key) is a duplicate
    lane: Lane | None = None  # None: by the topology, and by the shop's share
    delay: float = 0.0  # seconds before it may be worked on
    time: datetime | None = None
    subject: str | None = None
    dataschema: str | None = None
    content_type: str = "application/json"
    traceparent: str | None = None
    correlation_id: str | None = None
    headers: Mapping[str, str] | None = None  # as received, kept in the deliveries log


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an accepted draft: committed, or committed before."""

    id: UUID
    duplicate: bool


def marked(schema: str, origin: str) -> str:
    """The `dataschema` of a payload that has another shape for its origin: `2026-10+reconciled`."""
    return f"{schema}+{origin}"


def origin_of(dataschema: str | None) -> str:
    """What `marked` has put there."""
    return (dataschema or "").partition("+")[2]
