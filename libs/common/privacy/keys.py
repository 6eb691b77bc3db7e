"""What is made from SERVICE_KEY for privacy: marks that stand for people and shops, and signatures under receipts.

A mark is a keyed hash: equal for the same person, and of no use to who has the database without the key.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from libs.common.errors import ConfigurationError, ShopbusError
from libs.common.service_token import SHORTEST_KEY

_KEY_ID = 16  # hexadecimal digits

Receipt = Mapping[str, Any]


class InvalidReceipt(ShopbusError):
    """A receipt that was not signed with this key, or was changed since."""


class PrivacyKeys:
    """The two keys; each depends on SERVICE_KEY, and neither tells anything of it."""

    def __init__(self, service_key: SecretStr) -> None:
        secret = service_key.get_secret_value().encode()
        if len(secret) < SHORTEST_KEY:
            raise ConfigurationError(f"SERVICE_KEY is shorter than {SHORTEST_KEY} bytes")
        self._marks = _derived(secret, b"shopbus privacy marks v1")
        self._signer = Ed25519PrivateKey.from_private_bytes(_derived(secret, b"shopbus privacy receipts v1"))

    def mark(self, *words: str) -> bytes:
        """Stands for these words, and does not tell them."""
        return hmac.digest(self._marks, "\0".join(words).encode(), hashlib.sha256)

    def shop(self, shop: str) -> bytes:
        """Stands for a shop."""
        return self.mark("shop", shop)

    def customer(self, shop: str, kind: str, text: str) -> bytes:
        """Stands for one identifier of a shop's customer: kind is customer, email, phone or order."""
        return self.mark("customer", shop, kind, text)

    @property
    def public(self) -> str:
        """What anybody can check receipts with, base64."""
        return base64.b64encode(self._signer.public_key().public_bytes_raw()).decode()

    def sign(self, facts: Receipt) -> dict[str, Any]:
        """The facts with the id of the key and a signature over both."""
        signed = {**facts, "key": key_id(self.public)}
        signature = self._signer.sign(_canonical(signed))
        return {**signed, "signature": base64.b64encode(signature).decode()}


def key_id(public: str) -> str:
    """A short name of a public key."""
    return hashlib.sha256(public.encode()).hexdigest()[:_KEY_ID]


def verify(receipt: Receipt, public: str) -> None:
    """Raises `InvalidReceipt` unless the receipt is exactly what the holder of this key signed."""
    if receipt.get("key") != key_id(public):
        raise InvalidReceipt(f"it names the key {receipt.get('key')!r}, and this one is {key_id(public)}")
    facts = {name: value for name, value in receipt.items() if name != "signature"}
    try:
        signature = base64.b64decode(str(receipt.get("signature")), validate=True)
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True)).verify(
            signature, _canonical(facts)
        )
    except (InvalidSignature, binascii.Error, ValueError):
        raise InvalidReceipt("the signature does not match: something in it was changed") from None


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


def _canonical(facts: Receipt) -> bytes:
    return orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)
