"""Whom a payload speaks of. Where people stand in payloads is declared here; all that reads it has no I/O.

Shopify names people the same way in nearly all topics, so most of it is by key, and only the root is by topic.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from libs.common.contracts.privacy import Subject
from libs.common.contracts.topology import matches

# Whose id it is that stands at the root of a payload.
ROOTS = (
    ("webhook.customers.*", "customer"),
    ("webhook.orders.*", "order"),
    ("backfill.customers", "customer"),
    ("backfill.orders", "order"),
)
# Keys without their underscores and in small letters, whose value is an id, a list of ids, or an object with one.
PLACES = {
    "customer": "customer",
    "customerid": "customer",
    "customerids": "customer",
    "order": "order",
    "orderid": "order",
    "orderids": "order",
    "ordersrequested": "order",
    "orderstoredact": "order",
}
CLIENTS = frozenset({"clientId", "client_id"})  # keys of a pixel event, and of a frame's column
_GID = re.compile(r"gid://shopify/(Customer|Order)/([0-9]+)")
_EMAIL = re.compile(r"[^\s@<>\"',;:()\[\]\\]+@[^\s@<>\"',;:()\[\]\\]+")
_WRITTEN_OTHERWISE = re.compile(r"[^A-Za-z0-9._@-]")
_EMAIL_RUN = re.compile(r"[a-z0-9._@-]+")
_SHORTEST_RUN = 5
_CLIENTS_AT_ONCE = 50  # that one expression looks for: anybody can make browsers up
_PHONE_TAIL, _PHONE_SHORTEST, _PHONE_LONGEST = (
    9,
    7,
    15,
)  # digits; the tail is the same with and without a country
_LARGEST_ID = 2**63 - 1
_MOST_INFLATED = 64 * 1024 * 1024


@dataclass(slots=True)
class People:
    """What identifies people in one payload."""

    customers: set[int] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    emails: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    root_order: int | None = None

    def add(self, place: str, value: object) -> None:
        number = _number(value)
        if number is not None:
            (self.customers if place == "customer" else self.orders).add(number)

    def marks(self) -> Iterator[tuple[str, str]]:
        """Each identifier as (kind, text), for hashing."""
        yield from (("customer", str(number)) for number in self.customers)
        yield from (("order", str(number)) for number in self.orders)
        yield from (("email", email) for email in self.emails)
        yield from (("client", client) for client in self.clients)
        if not self.customers:  # a number may be shared; who is named by an id is known by it
            yield from (("phone", phone) for phone in self.phones)


def people_in(message_type: str, body: bytes) -> People:
    """Everybody whom a payload names: JSON, lines of JSON, either of them deflated, or any text."""
    found = People()
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = _lines(_inflated(body))
    _read_root(found, message_type, payload)
    pending: list[tuple[str, Any]] = [("", payload)]
    while pending:
        key, value = pending.pop()
        _read(found, key, value)
        if isinstance(value, dict):
            pending.extend(value.items())
        elif isinstance(value, list):
            pending.extend((key, item) for item in value)
    return found


def is_others(found: People, subject: Subject) -> bool:
    """Whether people are named, and the person is none of them, although it may be their browser that named them."""
    named = found.customers or found.orders or found.emails or found.phones
    return bool(named) and not is_about(found, replace(subject, clients=()))


def is_about(found: People, subject: Subject) -> bool:
    """Whether a payload holds the person."""
    if subject.customer_id in found.customers or not found.orders.isdisjoint(subject.all_orders()):
        return True
    if not found.clients.isdisjoint(subject.clients):
        return True
    if subject.email is not None and email_of(subject.email) in found.emails:
        return True
    known_by_id = bool(found.customers) and subject.customer_id is not None
    return not known_by_id and subject.phone is not None and phone_of(subject.phone) in found.phones


def marks_of(subject: Subject) -> Iterator[tuple[str, str]]:
    """The subject's identifiers as `People.marks` writes them."""
    if subject.customer_id is not None:
        yield "customer", str(subject.customer_id)
    if subject.email:
        yield "email", email_of(subject.email)
    if subject.phone and (phone := phone_of(subject.phone)):
        yield "phone", phone
    yield from (("order", str(number)) for number in subject.all_orders())
    yield from (("client", client) for client in subject.clients)


def search_patterns(subject: Subject) -> list[str]:
    """Regular expressions of Postgres'. One of them fits each payload about the person, however that is encoded."""
    needles = [str(number) for number in _numbers(subject)]
    if subject.email:
        needles.append(_longest_run(email_of(subject.email)))
    return ["|".join([*needles, *_phone_pattern(subject)]), *_client_patterns(subject.clients)]


def table_patterns(subject: Subject) -> list[str]:
    """For columns of text or JSON: the person's, and those of their browsers."""
    values = [_literal(orjson.dumps(client).decode()) for client in subject.clients]
    return [table_pattern(subject), *_bounded('"clientId": ?', values)]


def table_pattern(subject: Subject) -> str:
    """Finds nobody whose address or number only contains theirs."""
    needles = [f"(?<![0-9]){number}(?![0-9])" for number in _numbers(subject)]
    if subject.email:
        needles.append(f"(?<![a-z0-9._+-]){_literal(email_of(subject.email))}(?![a-z0-9-])")
    return "|".join([*needles, *_phone_pattern(subject)])


def _numbers(subject: Subject) -> list[int]:
    return [number for number in (subject.customer_id, *subject.all_orders()) if number is not None]


def _phone_pattern(subject: Subject) -> list[str]:
    phone = phone_of(subject.phone) if subject.phone else None
    return ["[^0-9]{0,3}".join(phone) + "(?![0-9])"] if phone else []


def email_of(text: str) -> str:
    """An address as it is compared."""
    return text.strip().strip(".").casefold()


def phone_of(text: str) -> str | None:
    """The digits of a number by which it is compared; None for what is no telephone number."""
    digits = re.sub(r"[^0-9]", "", text)
    return digits[-_PHONE_TAIL:] if _PHONE_SHORTEST <= len(digits) <= _PHONE_LONGEST else None


def _bounded(key: str, values: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(values), _CLIENTS_AT_ONCE):
        yield f"{key}(?:{'|'.join(values[start : start + _CLIENTS_AT_ONCE])})"


def _client_patterns(clients: Sequence[str]) -> list[str]:
    """Of many browsers the key alone: what fits is read anyway, which costs less than so long an expression."""
    key, values = r'"client_?id"\s*:\s*(?:\[[^]]*)?"', [_client_however_written(client) for client in clients]
    return list(_bounded(key, values)) if len(values) <= _CLIENTS_AT_ONCE else [key]


def _client_however_written(client: str) -> str:
    """The value as a whole, or its longest part that JSON never writes in another way."""
    if not _WRITTEN_OTHERWISE.search(client):
        return f'{_literal(client)}"'
    return ".*" + _literal(max(_WRITTEN_OTHERWISE.split(client), key=len))


def _longest_run(text: str) -> str:
    """Its longest part that JSON never writes in another way; all bodies, where there is none."""
    longest = max(_EMAIL_RUN.findall(text), key=len, default="")
    return _literal(longest) if len(longest) >= _SHORTEST_RUN else "."


def _literal(text: str) -> str:
    return re.sub(r"([^\w@])", r"\\\1", text)


def _inflated(body: bytes) -> bytes:
    """What was deflated, as frames of pixel events are; anything else as it is."""
    try:
        return zlib.decompressobj().decompress(body, _MOST_INFLATED)
    except zlib.error:
        return body


def _lines(body: bytes) -> list[Any]:
    """Each line as the JSON that it is, else as text."""
    return [_parsed(line) for line in body.split(b"\n") if line]


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode("utf-8", "replace")


def _read_root(found: People, message_type: str, payload: object) -> None:
    place = next((kind for pattern, kind in ROOTS if matches(pattern, message_type)), None)
    if place is None or not isinstance(payload, dict):
        return
    found.add(place, payload.get("id"))
    if place == "order":
        found.root_order = _number(payload.get("id"))


def _read(found: People, key: str, value: object) -> None:
    place = PLACES.get(key.replace("_", "").lower())
    if place is not None:
        found.add(place, value.get("id") if isinstance(value, dict) else value)
    if isinstance(value, str):
        if key in CLIENTS:
            found.clients.add(value)
        _read_text(found, value, key)


def _read_text(found: People, text: str, key: str) -> None:
    if "@" in text:
        found.emails.update(email_of(email) for email in _EMAIL.findall(text))
    if "gid://" in text:
        for kind, number in _GID.findall(text):
            found.add(kind.lower(), number)
    if "phone" in key.lower() and (phone := phone_of(text)):
        found.phones.add(phone)


def _number(value: object) -> int | None:
    """An id, also where it is written as text or as a global id."""
    if isinstance(value, str):
        value = found[2] if (found := _GID.fullmatch(value)) else value
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None  # noqa: PLR2004
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST_ID:
        return None
    return value
