"""What services say to each other when a person or a shop asks for its data, or to be forgotten.

The worker keeps the case and asks one service after the other, itself last; each answers for its own schema. These
messages name no shop in their envelope, so that their traces need no erasing, and their bodies are emptied once read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.common.contracts.envelope import InvalidBody, Message
from libs.common.contracts.topology import CONSUMERS

ERASED = b'{"erased":true}'
"""The body of a message whose payload was erased. No handler is called with it."""

DATA_REQUEST, CUSTOMER_REDACT, SHOP_REDACT = (
    "webhook.customers.data_request",
    "webhook.customers.redact",
    "webhook.shop.redact",
)
REQUESTS = (DATA_REQUEST, CUSTOMER_REDACT, SHOP_REDACT)

ERASE, COLLECT = "privacy.erase", "privacy.collect"
ERASE_DONE, COLLECT_DONE = "privacy.erased", "privacy.collected"

ORDER = ("auth", *sorted({*CONSUMERS} - {"auth", "worker"}), "worker")
"""auth first: it knows whether the shop is installed again. The worker last: what others have cancelled by then
cannot write its tables any more."""

DRAINED = ("pixel.frame",)
"""Messages of many people at once: they are worked on before one of these people is erased, never cancelled."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is meant: a customer of a shop by what the request names, or the whole shop."""

    shop: str
    before: datetime  # the case's beginning: what was triggered later is not meant
    whole_shop: bool = False
    customer_id: int | None = None
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    orders: Sequence[int] = ()  # as the request names them
    linked: Sequence[int] = ()  # orders of the customer that payloads spoke of
    clients: Sequence[str] = ()  # browsers that pixel events with one of these came from

    def all_orders(self) -> list[int]:
        return sorted({*self.orders, *self.linked})


_MEMBERS = frozenset(one.name for one in fields(Subject))


@dataclass(frozen=True, slots=True)
class Command:
    """A service is asked to collect or to erase."""

    case: UUID
    subject: Subject

    def body(self) -> bytes:
        """Names no browsers where there are none: processes of a version before know no such member."""
        subject = asdict(self.subject)
        if not self.subject.clients:
            del subject["clients"]
        return orjson.dumps({"case": self.case, "subject": subject}, default=str)

    @classmethod
    def of(cls, message: Message) -> "Command":
        """Members that only a later version knows are passed over; raises `InvalidBody`."""
        given = message.json()
        try:
            subject = {name: value for name, value in given["subject"].items() if name in _MEMBERS}
            before = datetime.fromisoformat(subject["before"])
            return cls(UUID(given["case"]), Subject(**{**subject, "before": before}))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidBody("this is no command of a privacy case") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service did for a case, or one part of what it found."""

    case: UUID
    service: str
    rows: Mapping[str, int] = field(default_factory=dict)  # by table
    found: int = (
        0  # rows about the person or the shop, without the requests themselves and the traces of work
    )
    linked: Sequence[int] = ()
    objection: str | None = None  # why nothing may be erased
    part: int = 1
    parts: int = 1
    items: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def body(self) -> bytes:
        return orjson.dumps(self, default=str)

    @classmethod
    def of(cls, message: Message) -> "Answer":
        """Raises `InvalidBody`."""
        given = message.json()
        try:
            return cls(**{**given, "case": UUID(given["case"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidBody("this is no answer to a privacy case") from error


def command_type(kind: str, service: str) -> str:
    """The message type by which one service is asked."""
    return f"{kind}.{service}"


def command_key(case: UUID, service: str) -> str:
    """The idempotency key of a command; by it the worker finds its body again to empty it."""
    return f"privacy {case} {service}"
