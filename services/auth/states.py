"""The state of an install under way: unguessable, and bound to the browser that began it by a signed cookie. No I/O.

The cookie is signed with a key of its own, made from SERVICE_KEY. With the client secret, a signed cookie would be a
signed webhook (SHOPIFY 1.1).
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from libs.common.errors import ConfigurationError

LIFE = timedelta(minutes=10)
"""How long a merchant may look at the consent page."""

_STATE = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Started:
    """A new state with its cookie. Several installs may be under way in one browser, each with its own."""

    state: str = field(repr=False)
    cookie: str = field(repr=False)

    @property
    def mark(self) -> bytes:
        return mark(self.state)

    @property
    def cookie_name(self) -> str:
        return cookie_name(self.state)


class States:
    """Makes states and recognises the cookies that go with them."""

    def __init__(self, service_key: SecretStr) -> None:
        material = service_key.get_secret_value().encode()
        if not material.strip():
            raise ConfigurationError("SERVICE_KEY is empty")
        self._key = HKDF(SHA256(), length=32, salt=None, info=b"shopbus/auth/state-cookie/v1").derive(
            material
        )

    def start(self) -> Started:
        state = secrets.token_hex(32)
        return Started(state, self._cookie(state))

    def began_here(self, state: str, cookie: str | None) -> bool:
        """Whether this cookie was set together with this state."""
        given = (cookie or "").encode("utf-8", "surrogatepass")
        return is_state(state) and hmac.compare_digest(self._cookie(state).encode(), given)

    def sender_mark(self, address: str) -> bytes:
        """What is stored of an address."""
        return hmac.digest(self._key, f"sender {address}".encode("utf-8", "surrogatepass"), "sha256")[:16]

    def _cookie(self, state: str) -> str:
        return hmac.digest(self._key, state.encode(), "sha256").hex()


def is_state(text: str) -> bool:
    """Whether a text could be one of our states."""
    return _STATE.fullmatch(text) is not None


def mark(state: str) -> bytes:
    """What is stored of a state."""
    return hashlib.sha256(b"shopbus/auth/state/v1\0" + state.encode("utf-8", "surrogatepass")).digest()


def cookie_name(state: str) -> str:
    """The name of the cookie that goes with a state."""
    return f"shopbus_state_{mark(state).hex()[:16]}"
