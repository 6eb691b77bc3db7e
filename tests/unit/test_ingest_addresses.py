"""Whose address counts: the one that the last proxy of ours saw, never one that the sender wrote."""

import pytest

from services.ingest.addresses import UNKNOWN, sender

CASES = [
    ("10.0.0.1", [], 0, "10.0.0.1"),
    ("10.0.0.1", ["6.6.6.6"], 0, "10.0.0.1"),
    ("10.0.0.1", ["6.6.6.6, 5.5.5.5"], 1, "5.5.5.5"),
    ("10.0.0.1", ["6.6.6.6", "5.5.5.5"], 1, "5.5.5.5"),
    ("10.0.0.1", ["6.6.6.6, 5.5.5.5, 10.0.0.2"], 2, "5.5.5.5"),
    ("10.0.0.1", [], 2, "10.0.0.1"),
    ("10.0.0.1", ["x"], 1, UNKNOWN),
    (None, [], 0, UNKNOWN),
    ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::"),
    ("2001:db8:1:2:ffff::1", [], 0, "2001:db8:1:2::"),
    ("::ffff:10.1.2.3", [], 0, "10.1.2.3"),
]


@pytest.mark.parametrize(("peer", "forwarded", "proxies", "expected"), CASES)
def test_the_address_behind_our_proxies_counts(
    peer: str | None, forwarded: list[str], proxies: int, expected: str
) -> None:
    assert sender(peer, forwarded, proxies) == expected
