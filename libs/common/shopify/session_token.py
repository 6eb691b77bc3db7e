"""The session token that App Bridge gives a page of the app, which the page shows with each request (SHOPIFY 3)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import jwt

from libs.common.errors import ConfigurationError, ShopbusError
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.shopify.signatures import Signer, active_secrets

LEEWAY_SECONDS = 10  # what all of Shopify's own libraries allow clocks to differ
MAX_LENGTH = 8 * 1024
_LATEST = 253_402_300_799.0  # the last second that a datetime can hold
_PLACE = re.compile(r"(?:https://)?([^/@:?#]+)(/[^?#]*)?")
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_UNCHECKED: Any = {
    "verify_signature": True,
    **{f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
}


class TokenFlaw(StrEnum):
    """Every cause for which a session token is not believed."""

    MALFORMED = "malformed"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    AUDIENCE = "audience"
    ISSUER = "issuer"
    SHOP = "shop"


class InvalidSessionToken(ShopbusError):
    """A session token that Shopify did not make for this app, or not just now."""

    def __init__(self, flaw: TokenFlaw, detail: str) -> None:
        super().__init__(detail)
        self.flaw = flaw
        self.detail = detail


@dataclass(frozen=True, slots=True)
class SessionToken:
    """Who is calling. Only a token of the admin can be exchanged, and only there `user_id` is a member of staff."""

    shop: str
    of_admin: bool
    user_id: int | None
    session_id: str | None
    token_id: str | None  # shared by all requests for which App Bridge used this token
    expires_at: datetime
    signer: Signer
    text: str = field(repr=False)


class SessionTokenVerifier:
    """Believes only what one of the active client secrets signed for this app."""

    __slots__ = ("_client_id", "_secrets")

    def __init__(self, client_id: str, secret: str, old_secret: str | None = None) -> None:
        if not client_id.strip():
            raise ConfigurationError("SHOPIFY_API_KEY is empty")
        self._client_id = client_id
        self._secrets = active_secrets(secret, old_secret)

    def read(self, text: str, now: datetime) -> SessionToken:
        """Reads a token as it is at this moment; raises `InvalidSessionToken`."""
        signer, claims = self._signed(text)
        expires_at = _valid_until(claims, now.timestamp())
        if claims.get("aud") != self._client_id:
            raise InvalidSessionToken(TokenFlaw.AUDIENCE, "the session token is for another app")
        shop, of_admin = _origin(claims)
        subject = claims.get("sub")
        is_user = of_admin and isinstance(subject, str) and _DIGITS.fullmatch(subject) is not None
        return SessionToken(
            shop=shop,
            of_admin=of_admin,
            user_id=int(str(subject)) if is_user else None,
            session_id=_text(claims.get("sid")),
            token_id=_text(claims.get("jti")),
            expires_at=expires_at,
            signer=signer,
            text=text,
        )

    def _signed(self, text: str) -> tuple[Signer, Mapping[str, Any]]:
        if len(text) > MAX_LENGTH or not text.isascii():
            raise InvalidSessionToken(TokenFlaw.MALFORMED, "the session token is no token")
        for signer, key in self._secrets:
            try:
                return signer, jwt.decode(text, key, algorithms=["HS256"], options=_UNCHECKED)
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError, RecursionError):
                raise InvalidSessionToken(TokenFlaw.MALFORMED, "the session token is no token") from None
        raise InvalidSessionToken(TokenFlaw.SIGNATURE, "the session token's signature does not match it")


def _valid_until(claims: Mapping[str, Any], now: float) -> datetime:
    expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise InvalidSessionToken(TokenFlaw.MALFORMED, "the session token has no exp")
    if now >= expires + LEEWAY_SECONDS:
        raise InvalidSessionToken(TokenFlaw.EXPIRED, "the session token has expired")
    if now + LEEWAY_SECONDS < max(begins or 0.0, issued or 0.0):
        raise InvalidSessionToken(TokenFlaw.NOT_YET, "the session token is not valid yet")
    return datetime.fromtimestamp(expires, UTC)


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    """A time of the token, which may be a fraction; None where it is not given."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSessionToken(TokenFlaw.MALFORMED, f"the session token's {name} is no time")
    if not math.isfinite(value) or not 0 <= value <= _LATEST:
        raise InvalidSessionToken(TokenFlaw.MALFORMED, f"the session token's {name} is no time")
    return float(value)


def _origin(claims: Mapping[str, Any]) -> tuple[str, bool]:
    """The shop that a token speaks for, and whether it was made by the admin."""
    issuer, destination = (_PLACE.fullmatch(_text(claims.get(name)) or "") for name in ("iss", "dest"))
    if issuer is None or destination is None or destination[2] not in {None, "/"}:
        raise InvalidSessionToken(TokenFlaw.ISSUER, "the session token's iss or dest is no address")
    try:
        shop = shop_domain(destination[1])
        issued_by = shop_domain(issuer[1])
    except InvalidShopDomain:
        raise InvalidSessionToken(TokenFlaw.SHOP, "the session token's dest is no shop") from None
    if shop != issued_by:
        raise InvalidSessionToken(TokenFlaw.ISSUER, "the session token's iss and dest are different shops")
    return shop, issuer[2] == "/admin"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
