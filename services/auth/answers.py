"""What an install needs of Shopify's answer, and what it is refused with otherwise. No I/O."""

from libs.common.shopify.session_token import SessionToken
from libs.common.shopify.token_answers import Granted, Outcome, Refused, Unsettled
from services.auth.refusals import AppUnknown, GrantRefused, SessionTokenRefused, TryLater


def offline(outcome: Outcome) -> Granted:
    """Access for the shop; raises `GrantRefused`, `SessionTokenRefused` or `TryLater`."""
    found = _granted(outcome)
    if found.user is not None:  # the merchant can change the address of the consent page
        raise GrantRefused("online", "Shopify granted access for one person only; install the app as it asks")
    return found


def of_user(outcome: Outcome, caller: SessionToken) -> Granted:
    """Access for the member of staff who is calling; raises as `offline` does."""
    found = _granted(outcome)
    if found.user is None or found.user.id != caller.user_id:
        raise GrantRefused("user", "Shopify granted access for somebody else")
    return found


def _granted(outcome: Outcome) -> Granted:
    match outcome:
        case Granted():
            return outcome
        case Refused(error=error) if error in {"invalid_subject_token", "invalid_token"}:
            raise SessionTokenRefused
        case Refused():
            raise GrantRefused("shopify", "Shopify does not take this grant; begin again")
        case Unsettled(reason=reason, retry_after=seconds):
            raise TryLater(f"Shopify: {reason}", seconds or 5.0)
    raise AppUnknown
