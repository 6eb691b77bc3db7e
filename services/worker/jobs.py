"""What can be asked of the job API, read from a query or a JSON object. No I/O."""

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from libs.common.errors import ShopbusError
from libs.common.ids import id_floor
from libs.common.outbox.list_store import FIRST_ID, LAST_ID, Window
from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain

_LONGEST = 255
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


class Status(StrEnum):
    """The five places a message can be in, as people call them."""

    PENDING = "pending"
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class BadParameter(ShopbusError):
    """A request says what cannot be meant; the message names the parameter and what it has to be."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(f"{name} has to be {wanted}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are asked for; None is any."""

    status: Status | None = None
    type: str | None = None
    shop: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def window(self, before: UUID = LAST_ID) -> Window:
        """The ids among which they are, from `before` down."""
        since = FIRST_ID if self.since is None else id_floor(self.since)
        until = LAST_ID if self.until is None else id_floor(self.until)
        return Window(min(before, until), since, self.type, self.shop)


FILTER_NAMES = ("status", "type", "shop", "since", "until")


def refuse_unknown(given: Mapping[str, object], known: Collection[str]) -> None:
    """A misspelt filter must not mean everything."""
    for name in given:
        if name not in known:
            raise BadParameter(name[:_LONGEST], f"one of {', '.join(known)}")


def read_filter(given: Mapping[str, object]) -> Filter:
    """Raises `BadParameter`."""
    return Filter(
        status=_status(given),
        type=read_text(given, "type"),
        shop=_shop(given),
        since=read_moment(given, "since"),
        until=read_moment(given, "until"),
    )


def read_limit(
    given: Mapping[str, object], otherwise: int, most: int, *, name: str = "limit", least: int = 1
) -> int:
    """Raises `BadParameter` unless it is from `least` to `most`, as a number or its digits."""
    value = given.get(name)
    if value is None:
        return otherwise
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadParameter(name, f"a whole number from {least} to {most}")
    return value


def read_flag(given: Mapping[str, str], name: str) -> bool:
    """Raises `BadParameter` for what is neither yes nor no; absent is no."""
    try:
        return _TRUTH[given.get(name, "0").lower()]
    except KeyError:
        raise BadParameter(name, "1 or 0") from None


def write_cursor(before: UUID) -> str:
    """Where the next page begins, in a form that invites nobody to make one up."""
    return base64.urlsafe_b64encode(before.bytes).rstrip(b"=").decode()


def read_cursor(given: Mapping[str, object]) -> UUID:
    """Raises `BadParameter` for anything `write_cursor` did not write."""
    text = read_text(given, "cursor")
    if text is None:
        return LAST_ID
    try:
        return UUID(bytes=base64.b64decode(f"{text}==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise BadParameter("cursor", "what the page before answered as next") from None


def read_id(text: str) -> UUID:
    """Raises `BadParameter` for what is no message id."""
    try:
        return UUID(text)
    except ValueError:
        raise BadParameter("id", "a message id like 019aa3c0-7e55-7000-8000-0123456789ab") from None


def read_text(given: Mapping[str, object], name: str) -> str | None:
    """Raises `BadParameter` for what is long or cannot be printed; empty is absent."""
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise BadParameter(name, f"a text of up to {_LONGEST} printable characters")
    return value


def _status(given: Mapping[str, object]) -> Status | None:
    text = read_text(given, "status")
    try:
        return None if text is None else Status(text)
    except ValueError:
        raise BadParameter("status", f"one of {', '.join(Status)}") from None


def _shop(given: Mapping[str, object]) -> str | None:
    text = read_text(given, "shop")
    try:
        return None if text is None else shop_domain(text)
    except InvalidShopDomain:
        raise BadParameter("shop", "a shop's domain like name.myshopify.com") from None


def read_moment(given: Mapping[str, object], name: str) -> datetime | None:
    """Raises `BadParameter` for what is no time; one without an offset is in UTC."""
    text = read_text(given, name)
    if text is None:
        return None
    for spelling in (text, text.replace(" ", "+")):  # a plus that nobody escaped arrives as a blank
        try:
            moment = datetime.fromisoformat(spelling)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise BadParameter(name, "a time like 2026-11-21T08:00:00Z")
