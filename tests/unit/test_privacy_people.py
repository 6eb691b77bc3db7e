"""Whom a payload speaks of, and whom it does not."""

import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.privacy import Subject
from libs.common.privacy.people import (
    is_about,
    is_others,
    people_in,
    search_patterns,
    table_pattern,
    table_patterns,
)

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "webhooks"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
ANNA = Subject(
    "a.myshopify.com", NOW, customer_id=191167, email="anna@example.com", phone="555-625-1199", orders=[299938]
)  # fmt: skip
BY_ADDRESS = Subject("a.myshopify.com", NOW, email="anna@example.com")
BY_NUMBER = Subject("a.myshopify.com", NOW, phone="+1 (555) 625 1199")


def about(payload: Any, subject: Subject = ANNA, kind: str = "anything") -> bool:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    found = is_about(people_in(kind, body), subject)
    if found:  # what is judged has to be preselected
        assert fits(subject, body) or kind == "pixel.frame"
    return found


def fits(subject: Subject, body: bytes) -> bool:
    """As Postgres preselects: encode(body, 'escape') ~* pattern."""
    text = "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in body.replace(b"\\", b"\\\\"))
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in search_patterns(subject))


@pytest.mark.parametrize(
    "payload",
    [
        {"customer": {"id": 191167}},
        {"customer": {"id": "191167"}},
        {"customer_id": 191167},
        {"customerId": "gid://shopify/Customer/191167"},
        {"order_id": 299938},
        {"order": {"id": 299938}},
        {"admin_graphql_api_order_id": "gid://shopify/Order/299938"},
        {"deep": [{"in": {"email": "Anna@Example.com "}}]},
        {"note": "please write to <anna@example.com>, thanks"},
        {"data": {"checkout": {"phone": "+1 555 625 1199"}}},
    ],
)
def test_a_payload_that_names_the_customer_is_about_them(payload: dict[str, Any]) -> None:
    assert about(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {"customer": {"id": 1911670}},
        {"product": {"id": 191167}},
        {"id": 191167},
        {"email": "joanna@example.com"},
        {"email": "anna@example.com.au"},
        {"email": "anna@example.community"},
        {"line_items": [{"id": 299938}]},
        {"customer": {"id": 7, "phone": "555-625-1199"}},  # a number that two of them share
        {"fax": "555-625-1199"},
        {"erased": True},
    ],
)
def test_a_payload_that_names_somebody_else_is_not(payload: dict[str, Any]) -> None:
    assert not about(payload)


def test_pixel_events_are_about_whose_browser_they_came_from() -> None:
    known = replace(ANNA, clients=["6ad1c0e4-visitor"])
    assert about({"clientId": "6ad1c0e4-visitor"}, known)
    assert not about({"clientId": "6ad1c0e4-visitor-2"}, known)
    assert not about({"clientId": "6ad1c0e4-visitor"})
    frame = zlib.compress(orjson.dumps({"client_id": ["another", "6ad1c0e4-visitor"]}) + b"\n{}\n{}")
    assert about(frame, known, kind="pixel.frame")


def test_a_browsers_name_that_anybody_could_have_made_up_finds_no_other_rows() -> None:
    pattern = "|".join(table_patterns(replace(ANNA, clients=["1", '.*"'])))
    assert re.search(pattern, '{"clientId":"1"}')
    assert re.search(pattern, '{"clientId": "1"}')
    assert not re.search(pattern, '{"clientId": "11", "data": {"1": 1}}')
    assert not re.search(pattern, '{"clientId": "anything\\""}')


@pytest.mark.parametrize(
    "client", ["1", "\u00e9", "\u00e91", 'a"b', "<b>", "K\u212a", "x,y", "annas.Browser"]
)
def test_a_browser_of_any_name_is_found_however_it_is_written(client: str) -> None:
    known = replace(ANNA, clients=["another", client])
    for payload in ({"clientId": client}, {"client_id": ["a third", client]}):
        assert about(payload, known)
        assert about(orjson.dumps(payload, option=orjson.OPT_INDENT_2), known)
    escaped = "".join(c if (c.isascii() and c.isalnum()) or c == "." else f"\\u{ord(c):04x}" for c in client)
    assert about(b'{"clientId":"%b"}' % escaped.encode(), known)


def test_browsers_that_were_made_up_make_no_search_fetch_everything_and_no_expression_long() -> None:
    short, long = [*map(str, range(500))], [f"{number:0128}" for number in range(499)]
    forged = replace(ANNA, clients=[*short, *long])
    assert fits(forged, b'{"clientId": "499"}')
    assert not fits(forged, b'{"id": 5, "note": "1"}')
    assert not fits(replace(ANNA, clients=short[:50]), b'{"clientId": "50", "id": 5, "note": "1"}')
    assert not fits(replace(ANNA, clients=["\u00e9"]), b'{"id": 5, "note": "\\u00e9"}')
    assert max(map(len, [*search_patterns(forged), *table_patterns(forged)])) < 8_000
    assert len(search_patterns(forged)) == 2


@pytest.mark.parametrize(
    ("content", "others"),
    [
        ({"context": {"document": {"title": "A hat"}}}, False),
        ({"data": {"checkout": {"email": "anna@example.com"}}}, False),
        ({"data": {"checkout": {"email": "ben@example.com"}}}, True),
        ({"data": {"checkout": {"order": {"id": "gid://shopify/Order/5"}}}}, True),
        ({"data": {"checkout": {"phone": "+49 176 1234567"}}}, True),
        ({"customData": {"clientId": "hers", "email": "ben@example.com"}}, True),
        ({"customData": {"to": "ben@example.com", "customer": {"id": 191167}}}, False),
    ],
)
def test_what_a_browser_told_of_somebody_else_is_others(content: dict[str, Any], others: bool) -> None:
    assert is_others(people_in("", orjson.dumps(content)), replace(ANNA, clients=["hers"])) is others


def test_the_root_is_whose_the_topic_is() -> None:
    assert about({"id": 191167}, kind="webhook.customers.update")
    assert about({"id": 299938}, kind="webhook.orders.updated")
    assert not about({"id": 191167}, kind="webhook.orders.updated")


def test_an_address_or_a_number_alone_is_enough() -> None:
    assert about({"customer": {"id": 7, "email": "anna@example.com"}}, BY_ADDRESS)
    assert about({"customer": {"id": 7, "phone": "5556251199"}}, BY_NUMBER)


def test_what_is_not_json_is_searched_too() -> None:
    assert about(b"<order><email>anna@example.com</email></order>")
    assert about(b"\xff\xfe anna@example.com")
    frame = zlib.compress(b'{"id":["e1"]}\n{"data":{"customer":{"id":"191167"}}}')
    assert about(frame, kind="pixel.frame")
    assert not about(zlib.compress(b'{"id":["e1"]}\n{"data":{}}'), kind="pixel.frame")


@given(st.emails())
def test_no_address_escapes_the_preselection_however_it_is_written(address: str) -> None:
    subject = replace(BY_ADDRESS, email=address)
    for text in (address, address.upper()):
        for body in (orjson.dumps({"email": text}), _escaped(text)):
            if is_about(people_in("x", body), subject):
                assert fits(subject, body)


def _escaped(text: str) -> bytes:
    """As Rails writes it: & and other characters as escapes."""
    body = orjson.dumps({"note": f"<{text}>"})
    for character, written in (
        (b"&", b"\\u0026"),
        (b"'", b"\\u0027"),
        (b"<", b"\\u003c"),
        (b">", b"\\u003e"),
    ):
        body = body.replace(character, written)
    return body


def test_a_table_is_searched_for_the_person_and_not_for_who_contains_them() -> None:
    def found(text: str) -> bool:
        return re.search(table_pattern(ANNA), text, re.IGNORECASE) is not None

    assert all(map(found, ('{"id": 191167}', "Anna@example.com", "a 299938.", "+1 555 625-1199")))
    assert not any(map(found, ('{"id": 1911670}', "joanna@example.com", "9299938", "555-625-11990")))


@pytest.mark.skipif(not FIXTURES.exists(), reason="the real payloads are not here")
def test_real_payloads_about_customers_and_orders_name_them() -> None:
    topics = (
        "orders__create",
        "orders__updated",
        "customers__create",
        "customers__update",
        "fulfillments__create",
    )
    for path in (path for topic in topics for path in FIXTURES.glob(f"{topic}*.json")):
        kind = f"webhook.{path.name.split('.')[0].replace('__', '.')}"
        found = people_in(kind, path.read_bytes())
        assert found.customers or found.orders or found.emails, path.name
