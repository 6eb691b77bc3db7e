"""States cannot be guessed, are known by their cookie alone, and sign nothing that Shopify would sign."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.errors import ConfigurationError
from libs.common.shopify.signatures import Signer, WebhookVerifier
from services.auth.states import States, cookie_name, is_state, mark

KEY = "a key that all services share"
STATES = States(SecretStr(KEY))


def test_no_two_states_are_the_same_and_each_is_256_bits() -> None:
    made = {STATES.start().state for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(len(bytes.fromhex(state)) == 32 and is_state(state) for state in made)


@given(st.text(), st.text() | st.none())
def test_only_the_cookie_that_was_set_with_a_state_goes_with_it(state: str, cookie: str | None) -> None:
    started, other = STATES.start(), STATES.start()
    assert STATES.began_here(started.state, started.cookie)
    assert not STATES.began_here(started.state, cookie)
    assert not STATES.began_here(state, started.cookie)
    assert not STATES.began_here(started.state, other.cookie)


def test_another_key_knows_none_of_them() -> None:
    started = STATES.start()
    assert not States(SecretStr("another key that services share")).began_here(started.state, started.cookie)


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "0" * 64 + "\n", "G" * 64, "\uff21" * 64])
def test_what_we_did_not_make_is_no_state(text: str) -> None:
    assert not is_state(text)


def test_what_is_stored_and_what_the_cookie_is_called_do_not_show_the_state() -> None:
    started = STATES.start()
    assert started.state not in started.mark.hex() + started.cookie_name + started.cookie + repr(started)
    assert (started.mark, started.cookie_name) == (mark(started.state), cookie_name(started.state))


def test_a_cookie_is_no_webhooks_signature_even_where_the_keys_are_the_same() -> None:
    started = States(SecretStr(KEY)).start()
    verifier = WebhookVerifier(KEY)
    assert verifier.signer(started.state.encode(), started.cookie) is Signer.NONE
    assert verifier.signer(started.cookie.encode(), started.cookie) is Signer.NONE


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SERVICE_KEY"):
        States(SecretStr(" "))
