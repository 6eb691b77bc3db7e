"""Whose address a request comes from. No I/O."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

UNKNOWN = "unknown"
_PREFIX = 64  # bits of an IPv6 address that stand for one line: it hands out the others itself


def sender(peer: str | None, forwarded: Sequence[str], proxies: int) -> str:
    """The address behind so many proxies of ours, each of which adds whom it sees at the end of X-Forwarded-For.

    What stands before those was written by the sender, who may write anything. IPv6 addresses count by their line.
    """
    seen = [part.strip() for header in forwarded for part in header.split(",")] + [peer or ""]
    return _line(seen[max(0, len(seen) - 1 - proxies)])


def _line(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return UNKNOWN
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> (128 - _PREFIX) << (128 - _PREFIX)))
