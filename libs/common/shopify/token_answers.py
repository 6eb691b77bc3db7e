"""What an answer of the token endpoint means: read leniently, but never as a token for ever (SHOPIFY 2.4, 2.5)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import orjson

from libs.common.shopify.scopes import Scopes

OFFLINE_SECONDS = 3_600
ONLINE_SECONDS = 86_399
REFRESH_SECONDS = 7_776_000
LONGEST_RETRY_AFTER = 3_600.0
_LONGEST_LIFE = 366 * 86_400
_WHOLE = re.compile(r"([0-9]{1,18})(\.[0-9]+)?", re.ASCII)
_NEGATIVE = re.compile(r"-[0-9]{1,18}(\.[0-9]+)?", re.ASCII)
_ERROR = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
_OURS = frozenset({"invalid_client", "unauthorized_client", "application_cannot_be_found"})
_LONGEST_WORD, _LONGEST_DETAIL = 24, 200


class Grant(StrEnum):
    """What an access token was asked for with."""

    CODE = "code"
    EXCHANGE = "exchange"
    REFRESH = "refresh"
    MIGRATION = "migration"


@dataclass(frozen=True, slots=True)
class AssociatedUser:
    """The member of staff for whom an online token is."""

    id: int
    scopes: Scopes
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    email_verified: bool = False  # only a verified address tells who somebody is
    account_owner: bool = False
    collaborator: bool = False
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """An access token. With a `user` it is online; without, offline."""

    access_token: str = field(repr=False)
    scopes: Scopes
    expires_at: datetime
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_at: datetime | None = None
    user: AssociatedUser | None = None
    assumed_expiry: bool = False  # the answer gave no usable expires_in, and the shortest life was assumed


@dataclass(frozen=True, slots=True)
class Refused:
    """What was shown to Shopify is used up or was never good: the same request will never succeed."""

    status: int
    error: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Nobody knows whether Shopify did it. The same request, with the same token, is to be sent again."""

    reason: str
    status: int | None = None
    retry_after: float | None = None  # seconds, where Shopify names them


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Shopify does not take the app's own credentials: they are wrong, or the app is not installed any more."""

    status: int
    error: str
    detail: str


Outcome = Granted | Refused | Unsettled | Misconfigured


def read_answer(
    grant: Grant, status: int, headers: Mapping[str, str], body: bytes, *, asked_at: datetime
) -> Outcome:
    """The meaning of an answer. Lives are counted from the moment of asking, so that none is taken for longer."""
    members = _members(body)
    if status == HTTPStatus.OK:
        return _granted(grant, members, asked_at) or Unsettled("the answer holds no whole token", status)
    error = _error(members)
    if error in _OURS:
        return Misconfigured(status, error, _detail(members))
    if _final(grant, status, error):
        return Refused(status, error, _detail(members))
    return Unsettled(f"answered {status} {error}".rstrip(), status, retry_after(headers, asked_at))


def _final(grant: Grant, status: int, error: str) -> bool:
    """Whether what was shown is used up. A refresh token is given up on these two answers only (SHOPIFY 2.4)."""
    if grant is Grant.REFRESH:
        return status == HTTPStatus.UNAUTHORIZED or (
            status == HTTPStatus.BAD_REQUEST and error == "invalid_grant"
        )
    return status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}


def _granted(grant: Grant, members: Mapping[str, Any], asked_at: datetime) -> Granted | None:
    """The token; None where the answer lacks what belongs to it, so that it has to be asked for again."""
    token, refresh = _text(members.get("access_token")), _text(members.get("refresh_token"))
    user = _user(members)
    if token is None or (refresh is None and grant in {Grant.REFRESH, Grant.MIGRATION}):
        return None
    if "associated_user" in members and members["associated_user"] is not None and user is None:
        return None
    seconds = _life(members.get("expires_in"))
    refresh_seconds = _life(members.get("refresh_token_expires_in")) or REFRESH_SECONDS
    usual = OFFLINE_SECONDS if user is None else ONLINE_SECONDS
    return Granted(
        access_token=token,
        scopes=_scopes(members.get("scope")),
        expires_at=asked_at + timedelta(seconds=usual if seconds is None else seconds),
        refresh_token=refresh,
        refresh_expires_at=asked_at + timedelta(seconds=refresh_seconds) if refresh else None,
        user=user,
        assumed_expiry=seconds is None,
    )


def _user(members: Mapping[str, Any]) -> AssociatedUser | None:
    given = members.get("associated_user")
    identifier = _whole(given.get("id")) if isinstance(given, dict) else None
    if identifier is None or not isinstance(given, dict):
        return None
    return AssociatedUser(
        id=identifier,
        scopes=_scopes(members.get("associated_user_scope")),
        first_name=_text(given.get("first_name")),
        last_name=_text(given.get("last_name")),
        email=_text(given.get("email")),
        email_verified=given.get("email_verified") is True,
        account_owner=given.get("account_owner") is True,
        collaborator=given.get("collaborator") is True,
        locale=_text(given.get("locale")),
    )


def _life(value: object) -> int | None:
    """How many seconds something lives, none where it has ended already; None where the answer does not say so."""
    if not isinstance(value, bool) and _NEGATIVE.fullmatch(str(value).strip()):
        return 0
    seconds = _whole(value)
    return None if seconds is None else min(seconds, _LONGEST_LIFE)


def _whole(value: object) -> int | None:
    """A number that may come as a text or with a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _WHOLE.fullmatch(str(value).strip())
    return int(found[1]) if found else None


def _scopes(value: object) -> Scopes:
    if isinstance(value, list):
        return Scopes.of(name for name in value if isinstance(name, str))
    return Scopes.parse(value) if isinstance(value, str) else Scopes()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return members if isinstance(members, dict) else {}


def _error(members: Mapping[str, Any]) -> str:
    found = members.get("error")
    return found if isinstance(found, str) and _ERROR.fullmatch(found) else ""


def _detail(members: Mapping[str, Any]) -> str:
    """Shopify's sentence for people, without any word long enough to be a token."""
    words = str(members.get("error_description") or "").split()
    return " ".join(word if len(word) <= _LONGEST_WORD else "…" for word in words)[:_LONGEST_DETAIL]


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for, at most an hour; None where it says nothing that can be read."""
    given = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if (found := _WHOLE.fullmatch(given)) is not None:
        return min(float(found[0]), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)
