"""What goes into a packet comes out of it, and nothing else is ever taken for one."""

import struct
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus.packing import (
    MAX_PACK_BYTES,
    MAX_PACK_MESSAGES,
    PACK_CONTENT_TYPE,
    InvalidPacket,
    Packet,
    decode,
    encode,
    encode_pack,
    encode_single,
)
from libs.common.contracts.envelope import Message

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))

MESSAGES = st.builds(
    Message,
    id=st.uuids(),
    type=_TEXT,
    source=_TEXT,
    shop=_TEXT,
    time=st.datetimes(timezones=_ZONES),
    body=st.binary(max_size=600),
    subject=st.none() | _TEXT,
    dataschema=st.none() | _TEXT,
    content_type=_TEXT,
    traceparent=st.none() | _TEXT,
    correlation_id=st.none() | _TEXT,
    attempt=st.just(1),
)


def message(
    body: bytes = b"{}", *, content_type: str = "application/json", subject: str | None = None
) -> Message:
    return Message(
        id=UUID(int=7 << 76 | 2 << 62),
        type="webhook.orders.create",
        source="webhooks",
        shop="a.myshopify.com",
        time=datetime(2026, 11, 21, tzinfo=UTC),
        body=body,
        content_type=content_type,
        subject=subject,
    )


def opened(packet: Packet) -> list[Message]:
    return decode(packet.body, packet.headers, packet.content_type)


@given(MESSAGES)
def test_a_single_message_comes_back_whole(sent: Message) -> None:
    assert opened(encode_single(sent)) == [sent]


@given(st.lists(MESSAGES, min_size=1, max_size=8))
def test_a_pack_comes_back_whole_and_in_order(sent: list[Message]) -> None:
    packet = encode_pack(sent)
    assert opened(packet) == sent
    assert packet.count == len(sent)


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.data())
def test_a_truncated_pack_is_invalid(sent: list[Message], data: st.DataObject) -> None:
    packet = encode_pack(sent)
    cut = data.draw(st.integers(0, len(packet.body) - 1))
    with pytest.raises(InvalidPacket):
        decode(packet.body[:cut], packet.headers, packet.content_type)


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.binary(min_size=1, max_size=20))
def test_a_pack_with_more_behind_it_is_invalid(sent: list[Message], more: bytes) -> None:
    with pytest.raises(InvalidPacket):
        decode(encode_pack(sent).body + more, {}, PACK_CONTENT_TYPE)


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.data())
def test_a_damaged_pack_is_invalid_or_holds_messages_but_never_breaks(
    sent: list[Message], data: st.DataObject
) -> None:
    damaged = bytearray(encode_pack(sent).body)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert _messages_or_invalid(bytes(damaged), {}, PACK_CONTENT_TYPE)


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | st.binary() | st.lists(_TEXT)
_NAMES = st.sampled_from(
    [f"cloudEvents:{name}" for name in ("id", "source", "type", "time", "shop", "subject", "specversion")]
)


@given(st.binary(), st.dictionaries(_NAMES | _TEXT, _VALUES), st.none() | _TEXT | st.just(PACK_CONTENT_TYPE))
def test_foreign_bytes_are_invalid_and_never_break(
    body: bytes, headers: dict[str, object], content_type: str | None
) -> None:
    assert _messages_or_invalid(body, headers, content_type)


@given(_NAMES, _VALUES)
def test_a_single_message_with_a_foreign_header_is_invalid_or_a_message(name: str, value: object) -> None:
    packet = encode_single(message())
    assert _messages_or_invalid(packet.body, packet.headers | {name: value}, packet.content_type)


def _messages_or_invalid(body: bytes, headers: dict[str, object], content_type: str | None) -> bool:
    try:
        return all(isinstance(one, Message) for one in decode(body, headers, content_type))
    except InvalidPacket:
        return True


def test_a_single_message_is_a_cloudevent_in_binary_mode_with_its_body_untouched() -> None:
    packet = encode_single(message(b"\x00 not json", subject="7"))
    assert packet.body == b"\x00 not json"
    assert packet.content_type == "application/json"
    assert packet.headers == {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": "00000000-0000-7000-8000-000000000000",
        "cloudEvents:source": "webhooks",
        "cloudEvents:type": "webhook.orders.create",
        "cloudEvents:subject": "7",
        "cloudEvents:time": "2026-11-21T00:00:00+00:00",
        "cloudEvents:shop": "a.myshopify.com",
    }


def test_every_header_is_missed() -> None:
    packet = encode_single(message())
    for name in packet.headers:
        rest = {other: value for other, value in packet.headers.items() if other != name}
        with pytest.raises(InvalidPacket):
            decode(packet.body, rest, packet.content_type)


def test_a_time_without_a_zone_is_invalid() -> None:
    packet = encode_single(message())
    with pytest.raises(InvalidPacket):
        decode(packet.body, packet.headers | {"cloudEvents:time": "2026-11-21T00:00:00"}, packet.content_type)


def test_one_message_goes_in_the_open_and_several_in_a_pack() -> None:
    assert encode([message()]).content_type == "application/json"
    assert encode([message(), message()]).content_type == PACK_CONTENT_TYPE


@pytest.mark.parametrize(
    "sent",
    [message(content_type="x" * 256), message(content_type="ü" * 128), message(subject="x" * 200_000)],
    ids=["a long content type", "one that is long in bytes", "headers beyond a frame"],
)
def test_what_amqp_headers_cannot_hold_travels_in_a_pack_of_one(sent: Message) -> None:
    packet = encode([sent])
    assert packet.content_type == PACK_CONTENT_TYPE
    assert opened(packet) == [sent]
    with pytest.raises(InvalidPacket):
        encode_single(sent)


def test_a_pack_has_limits() -> None:
    assert encode_pack([message()] * MAX_PACK_MESSAGES).count == MAX_PACK_MESSAGES
    assert encode_pack([message(b"x" * (MAX_PACK_BYTES + 1))]).count == 1
    for too_much in (
        [],
        [message()] * (MAX_PACK_MESSAGES + 1),
        [message(b"x" * MAX_PACK_BYTES), message(b"x")],
    ):
        with pytest.raises(ValueError, match="pack"):
            encode_pack(too_much)


def test_a_pack_that_claims_to_be_empty_or_endless_is_invalid() -> None:
    for count in (0, MAX_PACK_MESSAGES + 1, 2**32 - 1):
        with pytest.raises(InvalidPacket):
            decode(b"SBP1" + struct.pack(">I", count), {}, PACK_CONTENT_TYPE)


def test_no_two_packets_share_a_message_id() -> None:
    assert len({encode([message()]).message_id for _ in range(100)}) == 100


def test_the_error_quotes_nothing_of_the_packet() -> None:
    with pytest.raises(InvalidPacket) as caught:
        decode(b"a customer's name", {"cloudEvents:id": "secret"}, "text/plain")
    assert "customer" not in str(caught.value)
    assert "secret" not in str(caught.value)
