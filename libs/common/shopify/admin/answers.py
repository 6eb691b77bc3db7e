"""What an answer of the Admin API means. No I/O: bytes and headers in, an `Answer` or its own error out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson

from libs.common.shopify.admin import errors
from libs.common.shopify.admin.costs import Cost, read_cost
from libs.common.shopify.admin.errors import AdminError, GraphqlError, UserError, UserErrors
from libs.common.shopify.token_answers import retry_after

Json = Mapping[str, Any]

HOUR = 3_600.0
_REJECTED_SECONDS = 900.0  # Shopify names no time with a 430; what goes on knocking is kept out for longer
_THROTTLED_SECONDS = 2.0  # what Shopify's own libraries wait where a 429 names no time
_WORDS = 300  # characters of Shopify's own words in an error


class TokenRefused(AdminError):
    """401: this access token is not taken (any more)."""


class Faulty(AdminError):
    """Shopify answered and did not do its part: 5xx, 520, no JSON, INTERNAL_SERVER_ERROR."""


class TooMany(AdminError):
    """Shopify did not begin with it for want of points or places: 429 or THROTTLED."""

    def __init__(self, message: str, after: float | None) -> None:
        super().__init__(message)
        self.after = after  # seconds, where Shopify names them


@dataclass(frozen=True, slots=True)
class Answer:
    """Data of a shop. Where Shopify could not give all of it, `errors` says what is missing and why."""

    data: Json
    errors: Sequence[GraphqlError] = ()
    cost: Cost | None = None
    version: str | None = None  # that answered; another one than was asked for where that has retired
    request_id: str | None = None

    @property
    def partial(self) -> bool:
        """Whether something that was asked for is missing."""
        return bool(self.errors)

    def done(self, mutation: str) -> Json:
        """The payload of a mutation that was done; raises `UserErrors` where it was not."""
        payload = self.data.get(mutation)
        if not isinstance(payload, dict):
            raise _told(errors.QueryRefused(f"the answer holds nothing of {mutation}"), self.request_id)
        if found := _user_errors(payload):
            raise _told(UserErrors(found), self.request_id)
        return payload


def read_answer(status: int, headers: Mapping[str, str], body: bytes, *, asked_at: datetime) -> Answer:
    """The data, or an error that says what is the matter. Names of headers are matched as aiohttp gives them."""
    request_id = headers.get("X-Request-Id")
    if status != HTTPStatus.OK:
        raise _told(_of_status(status, retry_after(headers, asked_at), _words(body)), request_id, status)
    members = _members(body)
    if members is None:
        raise _told(Faulty("answered 200 without JSON"), request_id, status)
    found, cost = _errors(members.get("errors")), read_cost(members.get("extensions"))
    data = members.get("data")
    if isinstance(data, dict) and (not found or any(value is not None for value in data.values())):
        return Answer(data, found, cost, headers.get("X-Shopify-API-Version"), request_id)
    if not found:
        raise _told(Faulty("answered 200 with neither data nor errors"), request_id, status)
    raise _told(_refusal(found, cost), request_id, status)


def _refusal(found: Sequence[GraphqlError], cost: Cost | None) -> AdminError:
    """The gravest of the errors decides: one that would stop every repetition, before one that passes."""
    by_code = {error.code or _code_of(error): error for error in found}
    for code, make in _BY_CODE.items():
        if code in by_code:
            refusal = make(by_code[code].message[:_WORDS])
            break
    else:
        refusal = errors.QueryRefused("; ".join(one.message for one in found)[:_WORDS])
    refusal.cost, refusal.errors = cost, found
    return refusal


def _code_of(error: GraphqlError) -> str:
    """Older answers have words only."""
    return "THROTTLED" if error.message == "Throttled" else ""


_BY_CODE: Mapping[str, Callable[[str], AdminError]] = {
    "MAX_COST_EXCEEDED": errors.TooExpensive,
    "SHOP_INACTIVE": lambda words: errors.ShopInactive(HOUR, words),
    "ACCESS_DENIED": errors.AccessDenied,
    "THROTTLED": lambda words: TooMany(words, None),
    "INTERNAL_SERVER_ERROR": Faulty,
}


def _of_status(status: int, after: float | None, words: str) -> AdminError:
    told = f"answered {status}{': ' if words else ''}{words}"
    if status in _BY_STATUS:
        return _BY_STATUS[status](told, after)
    return Faulty(told) if _is_faulty(status) else errors.QueryRefused(told)


def _is_faulty(status: int) -> bool:
    """Whatever is no refusal is no answer of the API's: also a redirection, as of a proxy."""
    return not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


_BY_STATUS: Mapping[int, Callable[[str, float | None], AdminError]] = {
    401: lambda told, _: TokenRefused(told),
    402: lambda told, after: errors.ShopFrozen(after or HOUR, told),
    403: lambda told, _: errors.Forbidden(told),
    404: lambda told, _: errors.NotThere(told),
    408: lambda told, _: Faulty(told),
    423: lambda told, after: errors.ShopLocked(after or HOUR, told),
    429: lambda told, after: TooMany(told, _THROTTLED_SECONDS if after is None else after),
    430: lambda told, after: errors.SecurityRejection(after or _REJECTED_SECONDS, told),
}


def _told(error: AdminError, request_id: str | None, status: int | None = None) -> AdminError:
    error.request_id, error.status = request_id, status
    return error


def _errors(told: object) -> Sequence[GraphqlError]:
    """GraphQL's list; Shopify also answers one text, or texts by name."""
    if isinstance(told, str):
        return (GraphqlError(told),)
    if isinstance(told, dict):
        return tuple(GraphqlError(f"{name}: {words}") for name, words in told.items())
    return tuple(_error(one) for one in told) if isinstance(told, list) else ()


def _error(told: object) -> GraphqlError:
    if not isinstance(told, dict):
        return GraphqlError(str(told))
    extensions, path = told.get("extensions"), told.get("path")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return GraphqlError(
        str(told.get("message") or ""),
        code if isinstance(code, str) else "",
        tuple(path) if isinstance(path, list) else (),
    )


def _user_errors(payload: Json) -> list[UserError]:
    """From `userErrors` and its elder kin, such as `customerUserErrors`."""
    lists = [value for name, value in payload.items() if name.lower().endswith("usererrors")]
    return [_user_error(one) for found in lists if isinstance(found, list) for one in found]


def _user_error(told: object) -> UserError:
    if not isinstance(told, dict):
        return UserError(str(told))
    field, code = told.get("field"), told.get("code")
    place = tuple(str(part) for part in field) if isinstance(field, list) else ()
    return UserError(str(told.get("message") or ""), place, code if isinstance(code, str) else None)


def _members(body: bytes) -> Json | None:
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return members if isinstance(members, dict) else None


def _words(body: bytes) -> str:
    """Shopify's own words, where it has any that are for us: not a page for browsers."""
    members = _members(body) or {}
    return "; ".join(error.message for error in _errors(members.get("errors")))[:_WORDS]
