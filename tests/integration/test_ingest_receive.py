"""What the pixel sends is kept, whatever its form, and answered after the commit."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from services.ingest.config import Settings
from services.ingest.keys import new_key
from tests.environment import MakeSettings
from tests.integration.ingest_kit import (
    ADDRESS,
    OTHER_SHOP,
    SHOP,
    Ingesting,
    add_key,
    event,
    ingesting,
)
from tests.waiting import poll


@pytest.fixture
async def door(database: str, settings: MakeSettings) -> AsyncIterator[Ingesting]:
    async with ingesting(settings(Settings, database_url=database)) as running:
        yield running


ONE, TWO = event(id="a"), event(id="b")
FORMS = {
    "one event": ([ONE], orjson.dumps(ONE)),
    "an array": ([ONE, TWO], orjson.dumps([ONE, TWO])),
    "lines": ([ONE, TWO], orjson.dumps(ONE) + b"\n" + orjson.dumps(TWO) + b"\n"),
    "an object with events": ([ONE, TWO], orjson.dumps({"version": "1.2.3", "events": [ONE, TWO]})),
    "with a byte order mark": ([ONE], b"\xef\xbb\xbf" + orjson.dumps(ONE)),
}


@pytest.mark.parametrize(("events", "body"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("media", ["text/plain;charset=UTF-8", "application/json"])
async def test_every_form_is_understood(
    door: Ingesting, events: list[object], body: bytes, media: str
) -> None:
    answer = await door.send(body, headers={"Content-Type": media})
    assert answer.status == 204
    assert [row["id"] for row in await door.sent()] == ["a", "b"][: len(events)]
    assert await door.causes() == []


async def test_the_key_may_stand_in_the_body_the_address_or_a_header(door: Ingesting) -> None:
    in_body = {"key": door.key, "version": "1.2.3", "events": [event(id="body")]}
    assert (await door.send(in_body, key="")).status == 204
    assert (await door.send(event(id="address"))).status == 204
    assert (await door.send(event(id="header"), key="", headers={"X-Shopbus-Key": door.key})).status == 204
    rows = await door.sent()
    assert [(row["id"], row["shop"], row["version"]) for row in rows] == [
        ("body", SHOP, "1.2.3"), ("address", SHOP, None), ("header", SHOP, None),
    ]  # fmt: skip


async def test_an_event_is_of_the_keys_shop_whatever_it_says_itself(door: Ingesting) -> None:
    other = await add_key(door.database, OTHER_SHOP)
    await door.send(event(shopDomain=SHOP), key=other)
    assert [row["shop"] for row in await door.sent()] == [
        OTHER_SHOP,
    ]


async def test_a_bad_event_costs_no_good_neighbour(door: Ingesting) -> None:
    bad = [7, {"name": "page_viewed"}, event(timestamp="yesterday"), event(data=[1]), event(name="")]
    assert (await door.send([event(id="a"), *bad, event(id="b")])).status == 204
    assert [row["id"] for row in await door.sent()] == ["a", "b"]
    assert await door.causes() == ["not_an_event", "no_id", "bad_timestamp", "bad_shape", "no_name"]


async def test_a_broken_event_in_an_array_costs_no_good_neighbour(door: Ingesting) -> None:
    good = orjson.dumps(event(id="a")), orjson.dumps(event(id="b"))
    body = b'[%b, {"id": "x", "name": tru}, %b, {"id": "y' % good
    assert (await door.send(body)).status == 204
    assert [row["id"] for row in await door.sent()] == ["a", "b"]
    assert await door.causes() == ["not_json", "not_json"]


async def test_what_no_database_can_hold_as_text_is_replaced_and_the_event_kept(door: Ingesting) -> None:
    text = orjson.dumps(event(id="a", data={"note": "AB"})).replace(b"AB", b"A\\u0000\\ud800B")
    other = orjson.dumps(event(id="b", data={"note": "AB"})).replace(b"AB", b"A\xff\xfeB")
    assert (await door.send(b"[%b,%b]" % (text, other))).status == 204
    notes = {row["id"]: row["data"]["note"] for row in await door.sent()}
    assert notes == {"a": "A\ufffd\ufffdB", "b": "A\ufffd\ufffdB"}


async def test_nothing_to_say_is_no_error(door: Ingesting) -> None:
    assert (await door.send([])).status == 204
    assert await door.sent() == []


async def test_an_unknown_key_is_refused(door: Ingesting) -> None:
    ended = await add_key(door.database, ends_at=datetime.now(UTC) - timedelta(seconds=1))
    asleep = await add_key(door.database, OTHER_SHOP, active=False)
    for key in (new_key(), ended, asleep, "sbp_", "x" * 1_000, "\x00"):
        answer = await door.send(event(), key=key)
        assert (answer.status, (await answer.json())["type"]) == (403, "urn:shopbus:problem:unknown-key")
    answer = await door.send(event(), key="")
    assert (answer.status, (await answer.json())["type"]) == (400, "urn:shopbus:problem:no-key")
    assert await door.sent() == []


async def test_a_key_that_has_been_replaced_works_until_its_end(door: Ingesting) -> None:
    replaced = await add_key(door.database, ends_at=datetime.now(UTC) + timedelta(hours=1))
    assert (await door.send(event(), key=replaced)).status == 204


async def test_a_gzipped_body_is_read(door: Ingesting) -> None:
    body = gzip.compress(orjson.dumps([event(id="a")]))
    assert (await door.send(body, headers={"Content-Encoding": "gzip"})).status == 204
    assert [row["id"] for row in await door.sent()] == ["a"]


REFUSED = {
    "a bomb": (413, "too-large", gzip.compress(b" " * 10_000_000), "gzip"),
    "no gzip": (400, "not-gzip", b"[]", "gzip"),
    "half of it": (400, "not-gzip", gzip.compress(b"[]" * 1_000)[:20], "gzip"),
    "another encoding": (415, "encoding", zlib.compress(b"[]"), "deflate"),
    "too long": (413, "body-too-large", b" " * 200_000, ""),
}


@pytest.mark.parametrize(("status", "kind", "body", "encoding"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_read_whole_is_refused(
    door: Ingesting, status: int, kind: str, body: bytes, encoding: str
) -> None:
    answer = await door.send(body, headers={"Content-Encoding": encoding} if encoding else {})
    assert (answer.status, (await answer.json())["type"]) == (status, f"urn:shopbus:problem:{kind}")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_any_page_may_send_and_none_gets_credentials(door: Ingesting) -> None:
    for origin in ({}, {"Origin": "null"}, {"Origin": f"https://{SHOP}"}):
        answer = await door.send(event(), headers=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    async with door.client.options(ADDRESS, headers={"Origin": "null"}) as asked:
        assert asked.status == 204
        assert asked.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
        assert int(asked.headers["Access-Control-Max-Age"]) == 86_400


async def test_a_slow_client_is_cut_off(database: str, settings: MakeSettings) -> None:
    async with ingesting(settings(Settings, database_url=database, ingest_body_seconds=0.2)) as door:

        async def slowly() -> AsyncIterator[bytes]:
            yield b"["
            await asyncio.Event().wait()

        async with door.client.post(ADDRESS, params={"key": door.key}, data=slowly()) as answer:
            assert answer.status == 408


async def test_events_above_the_most_that_a_request_carries_are_put_aside(
    database: str, settings: MakeSettings
) -> None:
    async with ingesting(settings(Settings, database_url=database, ingest_events=3)) as door:
        assert (await door.send([event(id=str(n)) for n in range(40)])).status == 204
        assert [row["id"] for row in await door.sent()] == ["0", "1", "2"]
        assert await door.causes() == ["too_many"] * 20


async def test_the_version_that_sends_is_noted_and_when_it_last_did(door: Ingesting) -> None:
    for version in ("1.0.0", "1.1.0", "1.1.0"):
        await door.send({"key": door.key, "version": version, "events": [event(), event()]}, key="")
    found = "SELECT version, events FROM ingest.extension_versions ORDER BY version"
    await poll(lambda: door.database.fetchval("SELECT sum(events) = 6 FROM ingest.extension_versions"))
    assert [tuple(row) for row in await door.database.fetch(found)] == [("1.0.0", 2), ("1.1.0", 4)]
    assert await door.database.fetchval(
        "SELECT last_event_at > now() - interval '1 minute' FROM ingest.extensions"
    )
