"""A delivery's headers, of both families: classic `X-Shopify-*` and next-generation `Shopify-*` (SHOPIFY 4.1, 4.8).

None of them is covered by the signature. They say what a delivery claims to be, never what a caller may do.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from libs.common.errors import ShopbusError
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain

SIGNATURE = "hmac-sha256"
REQUIRED = ("topic", "shop-domain", "webhook-id")
MAX_LENGTH = 255
MAX_LENGTHS = {"topic": 128, "action": 64, "api-version": 64, "resource-id": 512}
MAX_KEPT = 16 * 1024  # characters of all kept headers together

_SHORTEST_LIMIT = 64
_CLASSIC, _NEXT = "x-shopify-", "shopify-"
_ALSO_KEPT = frozenset({"user-agent", "content-type"})
_WORDS = re.compile(r"[a-z0-9_-]+(?:[./][a-z0-9_-]+)*")
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Format(StrEnum):
    """The header family a delivery came with."""

    CLASSIC = "classic"
    NEXT = "next"


class MissingHeader(ShopbusError):
    """A header that every delivery has is missing or empty; the message names it."""


class InvalidHeader(ShopbusError):
    """A header has a value that no delivery can have; the message names it."""


class InvalidShop(InvalidHeader):
    """The shop header is not the myshopify.com domain of a shop."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request presents, before anything of it is believed."""

    format: Format
    signature: str = field(repr=False)
    claims: Mapping[str, str]  # by name without prefix: of the request's own family, else of the other one
    kept: Mapping[str, str]  # by lower-case name, for the log; without the signature


@dataclass(frozen=True, slots=True)
class WebhookHeaders:
    """The claims of one delivery, each within its limits."""

    format: Format
    message_type: str
    topic: str
    shop: str
    webhook_id: str  # unique per delivery and the same in its retries: the key that finds duplicates
    event_id: str | None  # shared by all deliveries of one merchant action: for correlation only
    api_version: str | None
    triggered_at: datetime | None  # None also where it is no plausible time
    name: str | None  # the subscription's own name; next-generation deliveries call it handle
    action: str | None
    resource_id: str | None


def present(headers: Iterable[tuple[str, str]]) -> Presented:
    """Finds a delivery among a request's headers; raises `MissingHeader` or `InvalidHeader`.

    A request that carries `Shopify-Hmac-Sha256` is next-generation even if it has the classic family too.
    """
    kept: dict[str, str] = {}
    classic: dict[str, str] = {}
    following: dict[str, str] = {}
    for name, value in headers:
        key, bare, family = _place(name)
        if family is None and not bare:
            continue
        if family is not None and key in kept:
            raise InvalidHeader(f"{name} is given more than once")
        kept[key] = text = safe_text(value)
        if text and family is not None:
            (classic if family is Format.CLASSIC else following)[bare] = text
    classic_signature, next_signature = classic.pop(SIGNATURE, ""), following.pop(SIGNATURE, "")
    kept.pop(_CLASSIC + SIGNATURE, None)
    kept.pop(_NEXT + SIGNATURE, None)
    if next_signature:
        return _complete(Presented(Format.NEXT, next_signature, classic | following, kept), "Shopify-")
    return _complete(Presented(Format.CLASSIC, classic_signature, following | classic, kept), "X-Shopify-")


@lru_cache(maxsize=1024)
def _place(name: str) -> tuple[str, str, Format | None]:
    """The lower-case name, what follows the family's prefix, and the family; nothing follows in an unwanted name."""
    key = name.lower()
    if key.startswith(_CLASSIC):
        return key, key.removeprefix(_CLASSIC), Format.CLASSIC
    if key.startswith(_NEXT):
        return key, key.removeprefix(_NEXT), Format.NEXT
    return key, key if key in _ALSO_KEPT else "", None


def _complete(found: Presented, prefix: str) -> Presented:
    if not found.signature:
        raise MissingHeader(f"{prefix}{SIGNATURE.title()} is missing")
    for name in REQUIRED:
        if not found.claims.get(name):
            raise MissingHeader(f"{prefix}{name.title()} is missing")
    return found


def read(found: Presented) -> WebhookHeaders:
    """Reads what a delivery claims; raises `InvalidHeader`, or `InvalidShop`, naming the header."""
    _limit(found)
    claims = found.claims
    action = claims.get("action")
    return WebhookHeaders(
        format=found.format,
        message_type=message_type(claims["topic"], action if found.format is Format.NEXT else None),
        topic=claims["topic"],
        shop=_shop(claims["shop-domain"]),
        webhook_id=claims["webhook-id"],
        event_id=claims.get("event-id"),
        api_version=claims.get("api-version"),
        triggered_at=_moment(claims.get("triggered-at")),
        name=claims.get("name") or claims.get("handle"),
        action=action,
        resource_id=claims.get("resource-id"),
    )


def _limit(found: Presented) -> None:
    if sum(map(len, found.kept.values())) > MAX_KEPT:
        raise InvalidHeader(f"the headers are longer than {MAX_KEPT} characters together")
    if max(map(len, found.claims.values())) <= _SHORTEST_LIMIT:
        return
    for name, value in found.claims.items():
        limit = MAX_LENGTHS.get(name, MAX_LENGTH)
        if len(value) > limit:
            raise InvalidHeader(f"{name.title()} is longer than {limit} characters")


@lru_cache(maxsize=4096)
def message_type(topic: str, action: str | None = None) -> str:
    """The message type of a topic: `orders/create` is `webhook.orders.create`.

    A next-generation topic is a resource, and its action follows it: `Product` with `update` is
    `webhook.product.update`. Its payload differs from the classic `webhook.products.update`, and so does its name.
    """
    words = f"{topic}/{action}" if action else topic
    lowered = words.lower()
    if not words.isascii() or _WORDS.fullmatch(lowered) is None:
        raise InvalidHeader("the topic has characters that no topic has")
    return "webhook." + lowered.replace("/", ".")


def safe_text(text: str) -> str:
    """The text as Postgres can store it: without NUL, lone surrogates and blanks around it."""
    text = text.strip()
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _shop(text: str) -> str:
    try:
        return shop_domain(text)
    except InvalidShopDomain as error:
        raise InvalidShop("Shop-Domain is not the myshopify.com domain of a shop") from error


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return moment if _EARLIEST <= moment <= _LATEST else None
