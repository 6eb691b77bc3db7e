"""What may become of a call instead of an answer, each with what to do about it (SHOPIFY 6.3, 6.4).

A handler that lets one pass does the right thing:

    Postponed   is a `Later`: the same call succeeds after a while; the message comes again, no retry is used up
    Refused     is a `Never`: no repetition helps; the message goes to `failed`, where it can be replayed
    Unavailable is neither: a retry with backoff

`NotInstalled` of the token client passes through; it is a `Cancelled`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.errors import ShopbusError
from libs.common.runtime.outcomes import Later, Never
from libs.common.shopify.admin.costs import Cost
from libs.common.token_client import AuthAway, NeedsAuthorization


@dataclass(frozen=True, slots=True)
class GraphqlError:
    """One entry of an answer's `errors`."""

    message: str
    code: str = ""
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class UserError:
    """Why Shopify did not do what a mutation asked for, in words for whoever asked."""

    message: str
    field: tuple[str, ...] = ()
    code: str | None = None


class AdminError(ShopbusError):
    """A call to the Admin API has brought no answer."""

    request_id: str | None = None
    status: int | None = None
    cost: Cost | None = None
    errors: Sequence[GraphqlError] = ()
    cached_may_serve = False  # whether an older answer is better than this error


class Postponed(AdminError, Later):
    """The call will succeed after `seconds`."""

    cached_may_serve = True


class Throttled(Postponed):
    """The shop's points are used up for longer than the caller could wait."""


class SecurityRejection(Postponed):
    """430: Shopify takes our calls for an attack; nothing more is sent to this shop for a while."""


class ShopFrozen(Postponed):
    """402: the merchant owes Shopify money; the shop's data is closed until that is settled."""


class ShopLocked(Postponed):
    """423: Shopify has locked the shop."""


class ShopInactive(Postponed):
    """The shop is closed or paused."""


class CircuitOpen(Postponed):
    """The shop's API failed several times in a row and is left alone for a moment; nothing was sent."""


class TokenAway(Postponed, AuthAway):
    """services/auth could not give a token just now; nothing was sent."""


class AccessEnded(Postponed, NeedsAuthorization):
    """Shopify does not take the app's access any more: the merchant has to open the app once."""

    cached_may_serve = False


class Unavailable(AdminError):
    """Shopify failed or did not answer. A mutation has not been done, or may safely be repeated."""

    cached_may_serve = True


class OutcomeUnknown(Unavailable):
    """A mutation was sent and its answer did not come: it may have been done. Look before repeating it."""

    cached_may_serve = False


class Refused(AdminError, Never):
    """Shopify will not do this, however often it is asked."""


class QueryRefused(Refused):
    """The query is wrong: a field that does not exist, a value of the wrong kind."""


class TooExpensive(Refused):
    """MAX_COST_EXCEEDED: ask for less at once, or use a bulk operation."""


class AccessDenied(Refused):
    """ACCESS_DENIED: the app lacks a scope, or approval for protected customer data."""


class Forbidden(Refused):
    """403: the app may not do this, or its token is of a kind that is not accepted any more."""


class NotThere(Refused):
    """404: there is no such shop, or no such address in this version of the API."""


class UserErrors(Refused):
    """The mutation was understood and not done; `user_errors` says why."""

    def __init__(self, user_errors: Sequence[UserError]) -> None:
        super().__init__("; ".join(_told(error) for error in user_errors))
        self.user_errors = user_errors


def _told(error: UserError) -> str:
    return f"{'.'.join(error.field)}: {error.message}" if error.field else error.message
