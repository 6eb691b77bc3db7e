"""Who gets which message, through which lane: the fan-out of DESIGN section 3 as data.

The same tables declare RabbitMQ's queues, fan messages out into outbox rows and tell consumers where to look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

EXCHANGE = "shopbus.events"
DEAD_LETTER_EXCHANGE = "shopbus.dead"
BROKER_DELIVERY_LIMIT = 20  # far above our own limit, which is counted exactly, in Postgres


class Lane(StrEnum):
    """Queues of different urgency; a full one never delays the one above it."""

    CRITICAL = "critical"  # compliance and lifecycle
    DEFAULT = "default"
    OVERFLOW = "overflow"  # what a shop sends beyond its share
    BULK = "bulk"  # pixels and backfills


LANE_WEIGHTS = {Lane.CRITICAL: 8, Lane.DEFAULT: 4, Lane.OVERFLOW: 2, Lane.BULK: 1}

SOURCES = ("webhooks", "auth", "ingest", "worker")
"""Schemas that hold an outbox, in the order consumers look at them."""

CONSUMERS = ("worker", "auth", "webhooks", "ingest")
"""Services that work on messages; each has `scheduled`, `failed` and `history` in its schema of the same name."""


@dataclass(frozen=True, slots=True)
class Route:
    """Messages whose type matches go to these destinations. `#` at the end matches the rest of a type."""

    pattern: str
    lane: Lane
    destinations: tuple[str, ...] = ("worker",)


ROUTES = (
    Route("webhook.customers.data_request", Lane.CRITICAL),
    Route("webhook.customers.redact", Lane.CRITICAL),
    Route("webhook.shop.redact", Lane.CRITICAL),
    Route("webhook.app.uninstalled", Lane.CRITICAL, ("worker", "auth")),
    Route("webhook.app.scopes_update", Lane.CRITICAL, ("worker", "auth")),
    *(Route(f"privacy.*.{name}", Lane.CRITICAL, (name,)) for name in CONSUMERS),  # each erases its own schema
    Route("privacy.#", Lane.CRITICAL),
    Route("shop.#", Lane.CRITICAL, ("worker", "ingest", "webhooks")),
    Route("token.#", Lane.CRITICAL),
    Route("install.#", Lane.CRITICAL),
    Route("pixel.#", Lane.BULK),
    Route("backfill.#", Lane.BULK),
    Route("#", Lane.DEFAULT),
)
"""Read from the top; the first that matches decides."""


@dataclass(frozen=True, slots=True)
class ExternalDestination:
    """Another program's queue on the exchange: it gets single CloudEvents, and its row ends at the confirm."""

    name: str
    pattern: str


EXTERNAL: tuple[ExternalDestination, ...] = ()
"""Add the app's own, e.g. `ExternalDestination("erp", "webhook.orders.#")`, whose program binds its queue itself."""


def external_names(message_type: str, externals: Sequence[ExternalDestination] = EXTERNAL) -> tuple[str, ...]:
    """The destinations outside that get messages of a type."""
    return tuple(external.name for external in externals if matches(external.pattern, message_type))


def matches(pattern: str, message_type: str) -> bool:
    """Whether a pattern covers a type: `*` stands for one dotted word, a final `#` for any rest, none included."""
    wanted, words = pattern.split("."), message_type.split(".")
    if wanted[-1] == "#":
        wanted.pop()
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(w in ("*", word) for w, word in zip(wanted, words, strict=True))


@lru_cache(maxsize=4096)
def route_for(message_type: str) -> Route:
    """The route of a message type; every type has one, since the last pattern matches all."""
    return next(route for route in ROUTES if matches(route.pattern, message_type))


def queue_name(destination: str, lane: Lane) -> str:
    """The quorum queue that brings one lane to one consumer."""
    return f"shopbus.{destination}.{lane}"


def work_key(destination: str, lane: Lane) -> str:
    """The routing key of packed work for one consumer and lane (docs/decisions/0003)."""
    return f"work.{destination}.{lane}"


def dead_letter_queue(destination: str) -> str:
    """Where RabbitMQ puts what it gave up delivering; the consumer hands it back to Postgres."""
    return f"shopbus.{destination}.dead"
