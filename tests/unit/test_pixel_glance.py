"""What is judged at a glance is judged as by a close look; whatever is odd gets the close look."""

from collections.abc import Iterator
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from libs.common.shopify.pixel_check import fits
from libs.common.shopify.pixel_glance import surely_fits
from libs.common.shopify.pixel_payloads import STANDARD
from services.ingest import bodies, glance
from services.ingest.glance import Bare, Glance
from tests.pixel_fixtures import PIXELS
from tests.pixel_inputs import JUDGE, at_a_glance, broken, closely, one_input, visits

FIXTURES = [orjson.loads(file.read_bytes()) for file in sorted(PIXELS.glob("*.json"))]


def glances(values: list[Any]) -> Iterator[bool]:
    """Whether a glance was enough for each."""
    body = orjson.dumps({"key": "sbp_1", "version": "1", "events": values})
    look = Glance.at(body, JUDGE)
    yield from (
        isinstance(value, Bare) and look.judged(value) is not None for value in glance.read(body).values
    )


TEXTS = st.text(max_size=12) | st.sampled_from(
    ["a@b.example", "?token=1", "/?email=x", "<b>", "\0", "\n", "\\u0041", "a%40b.example", "/orders/" + "a1" * 12,
     "https://other.example/", "curl/8", "[x]=1", "=", "e5", ":1e500", "\u2028", "1e9"]
)  # fmt: skip
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.just(1e300)
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
USUAL = st.integers(0, 10_000).map(lambda seed: Random(seed).choice(visits(seed)))
PLACES = (
    "id", "name", "timestamp", "type", "clientId", "seq", "context", "data", "customData", "trimmed", "other",
    "context.document", "context.document.location", "context.document.location.href", "context.document.title",
    "context.window.location.search", "context.document.referrer", "context.navigator.userAgent",
    "context.window.innerWidth", "data.productVariant", "data.productVariant.id", "data.cart.lines",
    "data.cartLine.quantity", "data.checkout.token", "data.collection.title", "data.extra",
)  # fmt: skip


def changed(event: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The event with one place changed, or added where there is room for it."""
    copied: dict[str, Any] = orjson.loads(orjson.dumps(event))
    *way, last = place.split(".")
    holder: Any = copied
    for step in way:
        holder = holder.get(step) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder[last] = value
    return copied


ODD = st.builds(changed, USUAL, st.sampled_from(PLACES), ANY)
FOUND = st.builds(changed, st.sampled_from(FIXTURES), st.sampled_from(PLACES), ANY) if FIXTURES else ODD


@given(st.lists(USUAL | ODD | FOUND | ANY, max_size=4), st.sampled_from(["object", "array", "loose"]))
def test_the_verdict_is_that_of_a_close_look(values: list[Any], form: str) -> None:
    body = b"[%b]" % b",".join(_written(value) for value in values)
    if form == "object":
        body = b'{"key":"sbp_1","events":%b}' % body
    if form == "loose":
        body = body.replace(b",", b" ,\t")
    assert at_a_glance(body) == closely(body)


def _written(value: Any) -> bytes:
    return orjson.dumps(value)


def test_bodies_that_are_broken_anywhere_are_judged_as_by_a_close_look() -> None:
    draw = Random(7)
    for _ in range(500):
        one_input(broken(draw))


@pytest.mark.long
def test_very_many_broken_bodies_are_judged_as_by_a_close_look() -> None:
    for seed in range(50_000):
        one_input(broken(Random(seed)))


RAW = [
    b"1e400", b"-1E+400", b"[1e99999]", b" 1e131072", b"0.1e1000", b"1e99", b"123456789012345678901234567890",
    b'"\\ud800"', b'"\\u0000"', b'"\\u003cb>"', b'"a\\u0040b.example"', b'"\xff"', b'"\xc3\xa9"', b'"\\/checkouts\\/"',
    b'"\x01"', b"tru", b"01", b"NaN", b"-", b"[1,]", b'{"a":1,"a":2}', b"[" * 240 + b"]" * 240, b"[" * 260 + b"]" * 260,
    b"[" * 2_000 + b"]" * 2_000, b'"' + b"x" * 6_100 + b'"', b'"' + b"x" * 5_000 + b'"', b"[\n1\n]", b'"a9e4567f"',
    b'":9e4567"', b'"?token=x"', b'"<i>"', b"null", b"{}", b'{"productVariant":{"id":1.5}}',
    b'{"productVariant":{"price":{"amount":"5"}}}', b'{"productVariant":{"id":99999999999999999999}}',
]  # fmt: skip


@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize("place", ["data", "context", "customData", "seq", "id", "data.x", "context.x"])
def test_no_bytes_get_by_unseen(raw: bytes, place: str) -> None:
    usual = orjson.dumps(changed(visits(3)[3], place, "@HERE@")).replace(b'"@HERE@"', raw)
    good = orjson.dumps(visits(4)[0])
    body = b'{"events":[%b,%b]}' % (usual, good)
    found = at_a_glance(body)
    assert found == closely(body)
    assert found[-1][0] == orjson.loads(good)["id"]


def test_of_two_members_with_one_name_the_last_counts() -> None:
    place = b'{"document":{"location":{"href":"https://other.example/"}}}'
    for body in (
        b'[{"id":"1","name":"x","timestamp":1,"context":{},"context":%b,"data":{"a":1},"data":{"a":2}}]'
        % place,
        b'[{"id":"1","id":"2","name":"x","timestamp":1,"context":{"document":{},"document":{"referrer":"/?token=1"}}}]',
    ):
        assert at_a_glance(body) == closely(body)


def test_a_usual_visit_takes_no_more_than_a_glance() -> None:
    events = [event for event in visits(7, 400) if b"<" not in orjson.dumps(event)]
    assert len(events) > 200
    assert all(glances(events))


def test_one_event_that_takes_a_closer_look_leaves_the_others_at_a_glance() -> None:
    usual = visits(7, 3)
    odd = [{**usual[0], "pixelEventLabel": "x"}, {**usual[0], "id": 5}, "no event", None]
    assert list(glances([*usual, *odd])) == [True] * 3 + [False] * 4


@pytest.mark.skipif(not FIXTURES, reason="real payloads are not at hand")
def test_real_events_before_the_checkout_take_no_more_than_a_glance() -> None:
    """A checkout's own address is a secret, which has to be taken out."""
    sorts = {"clientId", "seq", "type", "context", "data", "customData", "id", "name", "timestamp"}
    known = [
        event for event in FIXTURES if event.keys() <= sorts and b"/checkouts/" not in orjson.dumps(event)
    ]
    assert len(known) > 10
    assert sum(glances(known)) >= len(known) - 2  # two are very long


def test_bodies_of_another_form_are_read_closely() -> None:
    event = orjson.dumps(visits(1)[0])
    for body in (
        event,
        event + b"\n" + event,
        b"\xef\xbb\xbf[]",
        b"",
        b"{",
        b'{"events":[],"more":1}',
        b"[\xff]",
        b"[1,]",
        b"[nul]",
    ):
        assert not any(isinstance(value, Bare) for value in glance.read(body).values)


def test_key_and_version_are_those_of_a_close_reading() -> None:
    for words in (
        b'"key":"","version":"1"',
        b'"key":"%b"' % (b"x" * 129),
        b'"key":"k","version":"%b"' % (b"1" * 128),
    ):
        body = b'{%b,"events":[]}' % words
        near, far = bodies.read(body), glance.read(body)
        assert (far.key, far.version) == (near.key, near.version)


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 9) | st.text(max_size=3) | st.just({})
)
DATA = st.sampled_from(sorted(STANDARD)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.recursive(
            VALUES,
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["cart", "checkout", "id", "lines", "price", "amount", "quantity"]), inner
                )
            ),
        ),
    )
)


@given(DATA)
def test_what_surely_fits_does_fit(case: tuple[str, Any]) -> None:
    name, data = case
    raw = Raw(orjson.dumps(data))
    if isinstance(data, dict) and surely_fits(name, raw):
        assert fits(name, data)


def test_a_bare_event_is_the_whole_one() -> None:
    event = {**visits(1)[0], "customData": None, "trimmed": {"data.x": 3}}
    [bare] = glance.read(orjson.dumps([event])).values
    assert isinstance(bare, Bare)
    assert bare.whole() == event
