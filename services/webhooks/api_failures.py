"""What becomes of work at a shop's Admin API that broke off: its name in metrics, and when it is tried again."""

from libs.common.shopify.admin.errors import OutcomeUnknown, Postponed, Refused

AGAIN_SECONDS = 900.0  # after a failure
_LOOK_SECONDS = 60.0  # after a change of which nobody knows whether it was done


def failure(error: Exception) -> tuple[str, float]:
    """The outcome's name, and seconds until the next try."""
    match error:
        case Postponed():
            return "postponed", max(_LOOK_SECONDS, error.seconds)
        case OutcomeUnknown():
            return "failed", _LOOK_SECONDS
        case Refused():
            return "refused", AGAIN_SECONDS
        case _:
            return "failed", AGAIN_SECONDS
