"""A query that Shopify signed: the launch of the app and the end of the code grant (SHOPIFY 1.2 to 1.6)."""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote

from libs.common.errors import ShopbusError
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.shopify.signatures import Signer, active_secrets

WINDOW_SECONDS = 90
_UNSIGNED = frozenset({"hmac", "signature"})
_WHOLE_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


class Flaw(StrEnum):
    """Every cause for which a query is not believed."""

    REPEATED = "repeated"
    MISSING = "missing"
    HMAC = "hmac"
    TIMESTAMP = "timestamp"
    SHOP = "shop"


class QueryRefused(ShopbusError):
    """A query that Shopify did not sign for this app, or not just now."""

    def __init__(self, flaw: Flaw, detail: str, signer: Signer = Signer.NONE) -> None:
        super().__init__(detail)
        self.flaw = flaw
        self.detail = detail
        self.signer = signer  # which secret matched, where only something else was wrong


@dataclass(frozen=True, slots=True)
class SignedQuery:
    """What Shopify says in a query: believed in all its parameters, but it names no user."""

    shop: str
    at: datetime
    signer: Signer
    parameters: Mapping[str, str] = field(repr=False)
    """Without `hmac` and without lists, whose names end in `[]`. They hold a code and a state, so no log shows them."""


class QueryVerifier:
    """Believes only what one of the active client secrets signed within the last 90 seconds."""

    __slots__ = ("_secrets",)

    def __init__(self, secret: str, old_secret: str | None = None) -> None:
        self._secrets = active_secrets(secret, old_secret)

    def read(self, pairs: Iterable[tuple[str, str]], now: datetime) -> SignedQuery:
        """Reads the decoded parameters of a request, as often as each is given; raises `QueryRefused`."""
        given = list(pairs)
        single = _single(given)
        signer = self._signer(given, single)
        if signer is Signer.NONE:
            raise QueryRefused(Flaw.HMAC, "the query's hmac does not match it")
        at = _moment(single.get("timestamp", ""))
        if at is None or abs((now - at).total_seconds()) > WINDOW_SECONDS:
            detail = f"the query's timestamp is not within {WINDOW_SECONDS} seconds of now"
            raise QueryRefused(Flaw.TIMESTAMP, detail, signer)
        parameters = {name: value for name, value in single.items() if name not in _UNSIGNED}
        return SignedQuery(_shop(single, signer), at, signer, parameters)

    def _signer(self, given: list[tuple[str, str]], single: Mapping[str, str]) -> Signer:
        signature = _bytes(single.get("hmac", ""))
        if not signature:
            raise QueryRefused(Flaw.MISSING, "the query has no hmac")
        message = signed_text(given)
        for signer, key in self._secrets:
            made = hmac.digest(key, message, "sha256").hex().encode()
            if hmac.compare_digest(made, signature):
                return signer
        return Signer.NONE


def query_signature(secret: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The `hmac` that Shopify adds to these parameters."""
    return hmac.digest(secret.encode(), signed_text(pairs), "sha256").hex()


def signed_text(pairs: Iterable[tuple[str, str]]) -> bytes:
    """What is signed: all parameters but the signature itself, sorted by name, encoded as URLSearchParams does.

    A blank is `%20` and not `+`, as Shopify's JavaScript library has it; values of a list keep their order.
    """
    kept = sorted(((name, value) for name, value in pairs if name not in _UNSIGNED), key=lambda pair: pair[0])
    return "&".join(f"{_encode(name)}={_encode(value)}" for name, value in kept).encode("ascii")


def _encode(text: str) -> str:
    return quote(_bytes(text), safe="*-._").replace("~", "%7E")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _single(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The parameters that stand for themselves. Which of two `shop` counts is for nobody to choose, so none does."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name.endswith("[]"):
            continue
        if name in found:
            raise QueryRefused(Flaw.REPEATED, "the query gives a parameter more than once")
        found[name] = value
    return found


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if _WHOLE_SECONDS.fullmatch(text) else None


def _shop(parameters: Mapping[str, str], signer: Signer) -> str:
    try:
        return shop_domain(parameters.get("shop", ""))
    except InvalidShopDomain:
        raise QueryRefused(Flaw.SHOP, "the query names no shop's myshopify.com domain", signer) from None
