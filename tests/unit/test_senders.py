"""Whose address counts: what proxies of ours say, and nothing that the sender wrote himself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.senders import UNKNOWN, sender

ADDRESSES = st.ip_addresses(v=4).map(str)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "expected"),
    [
        ("10.0.0.1", [], 0, "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], 0, "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], 1, "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], 1, "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], 1, "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.9.9.9"], 2, "203.0.113.7"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("10.0.0.1", ["whoever"], 1, UNKNOWN),
        (None, [], 0, UNKNOWN),
        ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::"),
        ("::ffff:203.0.113.7", [], 0, "203.0.113.7"),
    ],
)
def test_the_address_behind_our_proxies(
    peer: str | None, forwarded: list[str], proxies: int, expected: str
) -> None:
    assert sender(peer, forwarded, proxies) == expected


@given(ADDRESSES, st.lists(st.text(max_size=40), max_size=4))
def test_what_a_sender_writes_does_not_change_whose_address_it_is(address: str, written: list[str]) -> None:
    assert sender("10.0.0.1", [*written, address], 1) == address
