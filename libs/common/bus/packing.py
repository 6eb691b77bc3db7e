"""How messages look inside AMQP: one as a CloudEvents 1.0 binary-mode message, several as a pack. No I/O.

A pack is `SBP1`, the number of messages, and for each its meta data and its body; numbers are big-endian u32:

    "SBP1" count | meta length, meta (JSON), body length, body | meta length, …
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import orjson

from libs.common.contracts.envelope import Message
from libs.common.errors import ShopbusError

MAX_PACK_MESSAGES: Final = 100
MAX_PACK_BYTES: Final = 64 * 1024  # of bodies; one bigger message goes alone
PACK_CONTENT_TYPE: Final = "application/vnd.shopbus.pack"

_SPEC_VERSION = "1.0"
_PREFIX = "cloudEvents:"
_MAGIC = b"SBP1"
_LENGTH = struct.Struct(">I")
_REQUIRED = ("id", "source", "type", "time", "shop")

# AMQP holds a content type in a short string, and all headers in one frame (128 KiB). What comes from outside
# and does not fit would make RabbitMQ close the connection, again at each attempt.
_SHORT_STRING = 255
_MAX_HEADER_BYTES = 16 * 1024

Attributes = Mapping[str, object]


class InvalidPacket(ShopbusError):
    """The bytes are not a packet of shopbus."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One AMQP message, ready to be published. `message_id` is new for each: returns are matched by it."""

    body: bytes
    headers: dict[str, str]
    content_type: str
    message_id: str
    count: int


def encode(messages: Sequence[Message]) -> Packet:
    """The packet for messages that travel together: one alone in the open, several in a pack."""
    if len(messages) == 1 and _fits_headers(messages[0]):
        return encode_single(messages[0])
    return encode_pack(messages)


def encode_single(message: Message) -> Packet:
    """A CloudEvents 1.0 message in binary mode; raises `InvalidPacket` if AMQP's headers cannot hold it."""
    if not _fits_headers(message):
        raise InvalidPacket("the attributes of the message are too large for AMQP headers")
    headers = {_PREFIX + name: value for name, value in _attributes(message).items()}
    headers[_PREFIX + "specversion"] = _SPEC_VERSION
    return Packet(message.body, headers, message.content_type, uuid4().hex, count=1)


def encode_pack(messages: Sequence[Message]) -> Packet:
    """Messages in one body; raises ValueError beyond the limits."""
    if not 1 <= len(messages) <= MAX_PACK_MESSAGES:
        raise ValueError(f"a pack holds 1 to {MAX_PACK_MESSAGES} messages, not {len(messages)}")
    if len(messages) > 1 and sum(len(message.body) for message in messages) > MAX_PACK_BYTES:
        raise ValueError(f"the bodies in a pack are {MAX_PACK_BYTES} bytes at most")
    parts = [_MAGIC, _LENGTH.pack(len(messages))]
    for message in messages:
        meta = orjson.dumps(_meta(message))
        parts += [_LENGTH.pack(len(meta)), meta, _LENGTH.pack(len(message.body)), message.body]
    return Packet(b"".join(parts), {}, PACK_CONTENT_TYPE, uuid4().hex, count=len(messages))


def _meta(message: Message) -> dict[str, object]:
    """The attributes of a message in a pack, in half the time that those for AMQP's headers take."""
    return {
        "id": str(message.id),
        "source": message.source,
        "type": message.type,
        "time": message.time,
        "shop": message.shop,
        "subject": message.subject,
        "dataschema": message.dataschema,
        "traceparent": message.traceparent,
        "correlationid": message.correlation_id,
        "datacontenttype": message.content_type,
    }


def decode(body: bytes, headers: Attributes, content_type: str | None) -> list[Message]:
    """The messages of a packet; raises `InvalidPacket`, whose text quotes nothing of it."""
    if content_type == PACK_CONTENT_TYPE:
        return _decode_pack(body)
    if headers.get(_PREFIX + "specversion") != _SPEC_VERSION:
        raise InvalidPacket("neither a pack nor a CloudEvents 1.0 message")
    attributes = {
        name.removeprefix(_PREFIX): value for name, value in headers.items() if name.startswith(_PREFIX)
    }
    return [_message(attributes | {"datacontenttype": content_type or ""}, body)]


def _decode_pack(body: bytes) -> list[Message]:
    reader = _Reader(body)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise InvalidPacket("the pack does not start as one")
    count = reader.number()
    if not 1 <= count <= MAX_PACK_MESSAGES:
        raise InvalidPacket("the pack claims an impossible number of messages")
    messages = [_packed(reader) for _ in range(count)]
    if not reader.at_end:
        raise InvalidPacket("the pack is longer than it says")
    return messages


def _packed(reader: "_Reader") -> Message:
    try:
        meta = orjson.loads(reader.take(reader.number()))
    except orjson.JSONDecodeError:
        raise InvalidPacket("the meta data of a packed message is not JSON") from None
    if not isinstance(meta, dict):
        raise InvalidPacket("the meta data of a packed message is not an object")
    return _message(meta, reader.take(reader.number()))


class _Reader:
    """Takes bytes from the front, and refuses to take what is not there."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise InvalidPacket("the pack is shorter than it says")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self) -> int:
        value: int = _LENGTH.unpack(self.take(_LENGTH.size))[0]
        return value

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)


def _fits_headers(message: Message) -> bool:
    size = sum(len(name) + len(value.encode()) for name, value in _attributes(message).items())
    return size <= _MAX_HEADER_BYTES and len(message.content_type.encode()) <= _SHORT_STRING


def _attributes(message: Message) -> dict[str, str]:
    """A message's CloudEvents attributes but for the content type, which AMQP has a field for."""
    attributes = {
        "id": str(message.id),
        "source": message.source,
        "type": message.type,
        "time": message.time.isoformat(),
        "shop": message.shop,
        "subject": message.subject,
        "dataschema": message.dataschema,
        "traceparent": message.traceparent,
        "correlationid": message.correlation_id,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _message(attributes: Attributes, body: bytes) -> Message:
    known = {name: _text(attributes, name) for name in _REQUIRED}
    try:
        identifier, time = UUID(known["id"]), datetime.fromisoformat(known["time"])
    except ValueError:
        raise InvalidPacket("the id or the time of a message cannot be read") from None
    if time.tzinfo is None:
        raise InvalidPacket("the time of a message has no zone")
    return Message(
        id=identifier,
        type=known["type"],
        source=known["source"],
        shop=known["shop"],
        time=time,
        body=body,
        subject=_optional_text(attributes, "subject"),
        dataschema=_optional_text(attributes, "dataschema"),
        content_type=_text(attributes, "datacontenttype"),
        traceparent=_optional_text(attributes, "traceparent"),
        correlation_id=_optional_text(attributes, "correlationid"),
    )


def _text(attributes: Attributes, name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str):
        raise InvalidPacket(f"the attribute {name} of a message is missing or not text")
    return value


def _optional_text(attributes: Attributes, name: str) -> str | None:
    return None if attributes.get(name) is None else _text(attributes, name)
