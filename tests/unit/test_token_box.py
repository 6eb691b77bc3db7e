"""A sealed token opens only whole, only with its key, and only in its place."""

import secrets
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import ConfigurationError
from libs.common.token_box import CannotOpen, KeyMissing, TokenBox, key_id

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLACE = "access offline_first.myshopify.com"


@given(
    token=st.text(st.characters(exclude_categories=["Cs"])),
    place=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_what_was_sealed_opens_in_its_place(token: str, place: str) -> None:
    box = TokenBox([NEW, OLD])
    assert box.open(box.seal(token, place), place) == token


@given(place=st.text(st.characters(exclude_categories=["Cs"])).filter(lambda place: place != PLACE))
def test_a_token_copied_to_another_place_does_not_open(place: str) -> None:
    box = TokenBox([NEW])
    with pytest.raises(CannotOpen):
        box.open(box.seal("shpat_secret", PLACE), place)


@given(st.data())
def test_a_token_with_any_changed_bit_does_not_open(data: st.DataObject) -> None:
    box = TokenBox([NEW])
    sealed = bytearray(box.seal("shpat_secret", PLACE))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CannotOpen):
        box.open(bytes(sealed), PLACE)


@given(st.integers(0, 48))
def test_a_token_cut_short_does_not_open(length: int) -> None:
    box = TokenBox([NEW])
    with pytest.raises(CannotOpen):
        box.open(box.seal("shpat_secret", PLACE)[:length], PLACE)


def test_the_first_key_seals_and_all_open() -> None:
    before, after = TokenBox([OLD]), TokenBox([NEW, OLD])
    sealed = after.seal("shpat_secret", PLACE)
    assert after.open(before.seal("shpat_secret", PLACE), PLACE) == "shpat_secret"
    assert TokenBox([NEW]).open(sealed, PLACE) == "shpat_secret"
    assert after.key_ids == [key_id(NEW), key_id(OLD)]
    with pytest.raises(KeyMissing, match=key_id(NEW)):
        before.open(sealed, PLACE)


def test_sealing_twice_gives_other_bytes_and_neither_shows_the_token() -> None:
    box = TokenBox([NEW])
    first, second = box.seal("shpat_secret", PLACE), box.seal("shpat_secret", PLACE)
    assert first != second
    assert b"secret" not in first


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_keys_are_read_in_both_alphabets_with_and_without_padding(encode: type) -> None:
    key = b"\xff\xfe" * 16
    word = encode(key).decode()
    for text in (word, word.rstrip("="), f" {word} , {encode(OLD).decode()}"):
        assert TokenBox.parse(text).key_id == key_id(key)


@pytest.mark.parametrize(
    "text", ["", ",", "short", b64encode(OLD[:31]).decode(), f"{b64encode(OLD).decode()},"]
)
def test_what_is_no_key_stops_the_start_and_is_not_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="TOKEN_KEYS") as refused:
        TokenBox.parse(text)
    assert text.strip(",") == "" or text not in str(refused.value)


def test_a_random_key_works() -> None:
    box = TokenBox.parse(b64encode(secrets.token_bytes(32)).decode())
    assert box.open(box.seal("x", PLACE), PLACE) == "x"
