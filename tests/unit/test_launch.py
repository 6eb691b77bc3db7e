"""Queries that Shopify signed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from libs.common.errors import ConfigurationError
from libs.common.shopify.launch import (
    WINDOW_SECONDS,
    Flaw,
    QueryRefused,
    QueryVerifier,
    query_signature,
    signed_text,
)
from libs.common.shopify.signatures import Signer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = "sandbox-001.myshopify.com"
VERIFIER = QueryVerifier("new", "old")

Pairs = list[tuple[str, str]]
names = st.text("abcdefghijklmnopqrstuvwxyz_.", min_size=1, max_size=12)
extras = st.dictionaries(names, st.text(), max_size=5)


def query(key: str = "new", *, at: datetime | str = NOW, shop: str = SHOP, **more: str) -> Pairs:
    """A query as Shopify sends it."""
    timestamp = at if isinstance(at, str) else str(int(at.timestamp()))
    pairs = [*more.items(), ("shop", shop), ("timestamp", timestamp)]
    return [("hmac", query_signature(key, pairs)), *pairs]


def flaw_of(pairs: Sequence[tuple[str, str]], verifier: QueryVerifier = VERIFIER) -> Flaw:
    with pytest.raises(QueryRefused) as refused:
        verifier.read(pairs, NOW)
    return refused.value.flaw


def test_agrees_with_the_example_of_shopifys_documentation() -> None:
    """The documentation's own query and secret; its shop and moment are of no interest to the signature."""
    pairs = parse_qsl(
        "code=0907a61c0c8d55e99db179b68161bc00&shop=some-shop.myshopify.com&state=0.6784241404160823"
        "&timestamp=1337178173"
    )
    assert (
        query_signature("hush", pairs) == "700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf"
    )


@given(extra=extras, secret=st.sampled_from(["new", "old"]))
def test_what_was_signed_is_read(extra: dict[str, str], secret: str) -> None:
    assume(not {"shop", "timestamp", "hmac", "signature", "key", "at"} & extra.keys())
    found = VERIFIER.read(query(secret, **extra), NOW)
    assert (found.shop, found.at) == (SHOP, NOW)
    assert found.signer is (Signer.CURRENT if secret == "new" else Signer.OLD)
    assert found.parameters == {**extra, "shop": SHOP, "timestamp": str(int(NOW.timestamp()))}


@given(extra=extras)
def test_the_order_of_parameters_does_not_matter(extra: dict[str, str]) -> None:
    pairs = list(extra.items())
    assert signed_text(pairs) == signed_text(pairs[::-1])


@given(extra=extras, name=names, value=st.text())
def test_whatever_is_added_or_changed_is_noticed(extra: dict[str, str], name: str, value: str) -> None:
    assume(name not in {"hmac", "signature"} and extra.get(name) != value)
    signed = query_signature("new", extra.items())
    assert query_signature("new", (extra | {name: value}).items()) != signed


@given(value=st.text())
def test_a_value_cannot_pass_for_two_parameters(value: str) -> None:
    assume(value)
    merged, split = [("a", f"b&c={value}")], [("a", "b"), ("c", value)]
    assert signed_text(merged) != signed_text(split)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("a b", b"a%20b"),
        ("a+b", b"a%2Bb"),
        ("*-._", b"*-._"),
        ("~!'()", b"%7E%21%27%28%29"),
        ("é/=&%", b"%C3%A9%2F%3D%26%25"),
    ],
)
def test_encodes_as_url_search_params_do(value: str, encoded: bytes) -> None:
    assert signed_text([("k", value)]) == b"k=" + encoded


def test_a_list_is_signed_in_its_order_and_is_no_parameter() -> None:
    pairs = [("ids[]", "2"), ("ids[]", "1"), ("shop", SHOP), ("timestamp", str(int(NOW.timestamp())))]
    assert signed_text(pairs).startswith(b"ids%5B%5D=2&ids%5B%5D=1&")
    found = VERIFIER.read([*pairs, ("hmac", query_signature("new", pairs))], NOW)
    assert "ids[]" not in found.parameters


@pytest.mark.parametrize("name", ["hmac", "shop", "timestamp", "code", "state", "host", "signature"])
def test_a_repeated_parameter_is_refused_however_it_was_signed(name: str) -> None:
    pairs = query(code="c", state="s", host="h", signature="x")
    repeated = [*pairs, (name, dict(pairs)[name])]
    signed_again = [("hmac", query_signature("new", repeated)), *(p for p in repeated if p[0] != "hmac")]
    assert flaw_of(repeated) is Flaw.REPEATED
    if name != "hmac":
        assert flaw_of(signed_again) is Flaw.REPEATED


@pytest.mark.parametrize("seconds", [-WINDOW_SECONDS, 0, WINDOW_SECONDS])
def test_within_the_window_it_passes(seconds: int) -> None:
    assert VERIFIER.read(query(at=NOW + timedelta(seconds=seconds)), NOW).shop == SHOP


@given(st.integers(WINDOW_SECONDS + 1, 10**9), st.sampled_from([-1, 1]))
def test_outside_of_the_window_it_is_refused(seconds: int, direction: int) -> None:
    moment = str(int(NOW.timestamp()) + direction * seconds)
    assert flaw_of(query(at=moment)) is Flaw.TIMESTAMP


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "Infinity",
        "1e9",
        "-1",
        "+1",
        "1795262400.5",
        " 1795262400",
        "1795262400\n",
        "\u0661\u0667",
        "9" * 30,
    ],
)
def test_a_timestamp_is_a_whole_number(text: str) -> None:
    assert flaw_of(query(at=text)) is Flaw.TIMESTAMP


def test_a_query_of_nobodys_shop_is_refused() -> None:
    with pytest.raises(QueryRefused) as refused:
        VERIFIER.read(query(shop="evil.com/sandbox-001.myshopify.com"), NOW)
    assert (refused.value.flaw, refused.value.signer) == (Flaw.SHOP, Signer.CURRENT)


def test_without_signature_or_with_another_one_nothing_passes() -> None:
    pairs = query()
    assert flaw_of(pairs[1:]) is Flaw.MISSING
    assert flaw_of([("hmac", ""), *pairs[1:]]) is Flaw.MISSING
    assert flaw_of([("hmac", pairs[0][1].upper()), *pairs[1:]]) is Flaw.HMAC
    assert flaw_of(query("other")) is Flaw.HMAC
    assert flaw_of(query("old"), QueryVerifier("new")) is Flaw.HMAC


@given(st.lists(st.tuples(st.text("\ud800\udfff\0é=&", max_size=5) | names, st.text()), max_size=6))
@example([("hmac", "\udce9"), ("shop", "\udcff")])
def test_whatever_is_presented_is_refused_and_nothing_else_is_raised(pairs: Pairs) -> None:
    assert flaw_of(pairs) in Flaw
    assert flaw_of([("hmac", "é"), *pairs]) in Flaw


def test_a_query_survives_its_way_through_a_url() -> None:
    pairs = query(name="é +~*&=", empty="")
    assert VERIFIER.read(parse_qsl(urlencode(pairs), keep_blank_values=True), NOW).parameters["empty"] == ""


def test_no_log_shows_the_code_and_the_state_of_a_query() -> None:
    shown = repr(VERIFIER.read(query(code="the-code", state="the-state"), NOW))
    assert "the-code" not in shown
    assert "the-state" not in shown


def test_an_empty_secret_is_a_closed_door() -> None:
    with pytest.raises(ConfigurationError, match="SHOPIFY_API_SECRET is empty"):
        QueryVerifier(" ")
