"""The token endpoint: what is sent for each grant, and what its answers mean (SHOPIFY 1.3, 2.1 to 2.6)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.common.errors import ConfigurationError

_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - names of the standard, as below
_OFFLINE = "urn:shopify:params:oauth:token-type:offline-access-token"
_ONLINE = "urn:shopify:params:oauth:token-type:online-access-token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

HEADERS: Mapping[str, str] = {"Accept": "application/json"}
"""Sent with every request; its body is the form."""


@dataclass(frozen=True, slots=True)
class AppCredentials:
    """What the app proves itself with."""

    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in (("KEY", self.client_id), ("SECRET", self.client_secret)):
            if not value.strip():
                raise ConfigurationError(f"SHOPIFY_API_{name} is empty")

    @property
    def secret_id(self) -> str:
        """A name of the client secret, to be written down. No HMAC by it: that would be a signature of Shopify's."""
        made = HKDF(SHA256(), length=6, salt=None, info=b"shopbus/client-secret-id/v1")
        return made.derive(self.client_secret.encode()).hex()

    def code(self, code: str) -> dict[str, str]:
        """The form that turns the code of a callback into a token; `expiring` is ignored for online access."""
        return self._form(code=code, expiring="1")

    def exchange(self, session_token: str, *, online: bool = False) -> dict[str, str]:
        """The form that turns a session token into an access token."""
        if online:
            return self._exchange(session_token, _ID_TOKEN, _ONLINE)
        return self._exchange(session_token, _ID_TOKEN, _OFFLINE) | {"expiring": "1"}

    def refresh(self, refresh_token: str) -> dict[str, str]:
        """The form that turns a refresh token into a new pair."""
        return self._form(grant_type="refresh_token", refresh_token=refresh_token)

    def migration(self, access_token: str) -> dict[str, str]:
        """The form that turns a token without expiry into an expiring pair, for good."""
        return self._exchange(access_token, _OFFLINE, _OFFLINE) | {"expiring": "1"}

    def _exchange(self, subject: str, kind: str, wanted: str) -> dict[str, str]:
        return self._form(
            grant_type=_EXCHANGE,
            subject_token=subject,
            subject_token_type=kind,
            requested_token_type=wanted,
        )

    def _form(self, **fields: str) -> dict[str, str]:
        return {"client_id": self.client_id, "client_secret": self.client_secret, **fields}
