"""No body makes ingest fail, and none costs a good event that stands beside whatever it is."""

import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.core import given

from services.ingest.config import Settings
from tests.environment import MakeSettings
from tests.integration.ingest_kit import Ingesting, event, ingesting

TEXT = st.text(max_size=30) | st.sampled_from(["\0", "\x85", "\u2028", "a@b.example", "?token=1", "<b>"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
NAMES = (
    "id",
    "name",
    "timestamp",
    "type",
    "clientId",
    "seq",
    "context",
    "data",
    "customData",
    "events",
    "key",
)
ODD = st.dictionaries(st.sampled_from(NAMES), ANY, max_size=6).map(lambda part: {**event(), **part}) | ANY
_numbers = count(1)


@pytest.fixture
async def door(database: str, settings: MakeSettings) -> AsyncIterator[Ingesting]:
    many: dict[str, Any] = {"ingest_address_burst": 10**9, "ingest_key_burst": 10**9}
    async with ingesting(settings(Settings, database_url=database, **many)) as running:
        yield running


def written(value: Any) -> bytes:
    """As the most careless of clients would write it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


async def test_no_event_costs_a_good_neighbour(door: Ingesting) -> None:
    good: list[str] = []

    @given(st.lists(ODD, max_size=6), st.sampled_from(["array", "lines", "object"]))
    @examples(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def bodies(odd: list[Any], form: str) -> None:
        identifier = f"good-{next(_numbers)}"
        good.append(identifier)
        parts = [*map(written, odd), orjson.dumps(event(id=identifier))]
        whole = {
            "array": b"[" + b",".join(parts) + b"]",
            "lines": b"\n".join(parts),
            "object": b'{"version": "1", "events": [' + b",".join(parts) + b"]}",
        }
        collected.append(whole[form])

    collected: list[bytes] = []
    bodies()
    for body in collected:
        assert (await door.send(body)).status in {204, 413}
    found = {row["id"] for row in await door.sent()}
    assert set(good) <= found


async def test_no_bytes_make_it_fail(door: Ingesting) -> None:
    collected: list[tuple[bytes, str]] = []

    @given(
        st.binary(max_size=400) | st.text('[]{}",:\\\0 \nabe1-', max_size=200).map(str.encode),
        st.sampled_from(["", "gzip"]),
    )
    @examples(max_examples=60, deadline=None)
    def bodies(body: bytes, encoding: str) -> None:
        collected.append((body, encoding))

    bodies()
    for body, encoding in collected:
        answer = await door.send(body, headers={"Content-Encoding": encoding} if encoding else {})
        assert answer.status in ({204, 400, 413} if encoding else {204}), body
