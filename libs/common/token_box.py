"""Tokens as they lie in a table: AES-256-GCM, with the key's id in front, bound to the place that they belong to.

    byte 0        the version of this format, 1
    bytes 1-8     the key's id: the first half of a SHA-256, so that it tells nothing of the key
    bytes 9-20    the nonce, random; one key may seal four billion tokens before that is a risk
    the rest      ciphertext and tag

The place is not stored but authenticated: what was sealed for one shop does not open for another.
"""

import hashlib
import os
from base64 import b64decode, urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.errors import ConfigurationError, ShopbusError

_VERSION = b"\x01"
_KEY_BYTES, _ID_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 8, 12, 16
_HEAD = 1 + _ID_BYTES + _NONCE_BYTES


class CannotOpen(ShopbusError):
    """A sealed token does not open here: it is damaged, or was sealed for another place."""


class KeyMissing(CannotOpen):
    """A token was sealed with a key that is not in TOKEN_KEYS."""


class TokenBox:
    """Seals with the first key and opens with any. `place` names what a token belongs to, and is not stored."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ConfigurationError(f"TOKEN_KEYS has to hold keys of {_KEY_BYTES} bytes")
        self.key_id = key_id(keys[0])
        self._keys: Mapping[str, AESGCM] = {key_id(key): AESGCM(key) for key in keys}

    @classmethod
    def parse(cls, text: str) -> "TokenBox":
        """The box of `TOKEN_KEYS`: base64 keys separated by commas. Raises `ConfigurationError`, which tells none."""
        words = [word.strip() for word in text.split(",")]
        return cls([_key(word, number) for number, word in enumerate(words, start=1)])

    @property
    def key_ids(self) -> Sequence[str]:
        """The ids of all keys, the one that seals first."""
        return list(self._keys)

    def seal(self, token: str, place: str) -> bytes:
        """The token as it may be stored; sealing it again gives other bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + bytes.fromhex(self.key_id) + nonce
        return head + self._keys[self.key_id].encrypt(nonce, token.encode(), _bound(head, place))

    def open(self, sealed: bytes, place: str) -> str:
        """The token that was sealed for this place; raises `KeyMissing` or `CannotOpen`."""
        if len(sealed) < _HEAD + _TAG_BYTES or sealed[:1] != _VERSION:
            raise CannotOpen
        name = sealed[1 : 1 + _ID_BYTES].hex()
        key = self._keys.get(name)
        if key is None:
            raise KeyMissing(f"a token was sealed with the key {name}, which is not in TOKEN_KEYS")
        head, nonce = sealed[:_HEAD], sealed[1 + _ID_BYTES : _HEAD]
        try:
            return key.decrypt(nonce, sealed[_HEAD:], _bound(head, place)).decode()
        except InvalidTag:
            raise CannotOpen from None


def key_id(key: bytes) -> str:
    """A name for a key that can be shown."""
    return hashlib.sha256(b"shopbus/token-key-id/v1\0" + key).digest()[:_ID_BYTES].hex()


def _bound(head: bytes, place: str) -> bytes:
    return b"shopbus/token/v1\0" + head + place.encode()


def _key(word: str, number: int) -> bytes:
    padded = word + "=" * (-len(word) % 4)
    try:
        key = urlsafe_b64decode(padded) if {"-", "_"} & set(word) else b64decode(padded, validate=True)
    except (NotBase64, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"TOKEN_KEYS: key {number} is not {_KEY_BYTES} bytes in base64")
    return key
