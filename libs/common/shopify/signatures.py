"""The signature on a webhook: base64 HMAC-SHA256 of the body exactly as it was received (SHOPIFY 4.2)."""

import hmac
from base64 import b64encode
from enum import StrEnum

from libs.common.errors import ConfigurationError


class Signer(StrEnum):
    """Which secret a signature was made with. Two are active while a client secret is being rotated."""

    CURRENT = "current"
    OLD = "old"
    NONE = "none"


def webhook_signature(secret: str, body: bytes) -> str:
    """What Shopify puts into `X-Shopify-Hmac-Sha256` for this body."""
    return b64encode(hmac.digest(secret.encode(), body, "sha256")).decode("ascii")


def active_secrets(secret: str, old_secret: str | None = None) -> tuple[tuple[Signer, bytes], ...]:
    """The client secrets that may have signed something, as keys; an empty one is refused."""
    named = [(Signer.CURRENT, "SHOPIFY_API_SECRET", secret)]
    if old_secret is not None:
        named.append((Signer.OLD, "SHOPIFY_API_SECRET_OLD", old_secret))
    for _, variable, text in named:
        if not text.strip():
            raise ConfigurationError(f"{variable} is empty")
    return tuple((signer, text.encode()) for signer, _, text in named)


class WebhookVerifier:
    """Tells which secret signed a body. Without a secret there is none: an empty one is refused here."""

    __slots__ = ("_keyed",)

    def __init__(self, secret: str, old_secret: str | None = None) -> None:
        self._keyed = tuple(
            (signer, hmac.new(key, digestmod="sha256")) for signer, key in active_secrets(secret, old_secret)
        )

    def signer(self, body: bytes, signature: str | bytes) -> Signer:
        """Compares in constant time, on bytes, whatever the signature holds; never raises."""
        given = signature if isinstance(signature, bytes) else signature.encode("utf-8", "surrogatepass")
        for signer, keyed in self._keyed:
            made = keyed.copy()  # the key was hashed once, when the verifier was made
            made.update(body)
            if hmac.compare_digest(b64encode(made.digest()), given):
                return signer
        return Signer.NONE
