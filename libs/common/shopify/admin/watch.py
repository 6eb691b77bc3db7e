"""Counts and logs what comes back from the Admin API. Logs name the shop and the operation, never data or tokens."""

from collections.abc import Mapping, Sequence

from cachetools import TTLCache

from libs.common import logs
from libs.common.clock import Clock
from libs.common.shopify.admin import errors, metrics
from libs.common.shopify.admin.answers import Answer, Faulty, TokenRefused, TooMany
from libs.common.shopify.admin.calls import Call
from libs.common.shopify.admin.errors import AdminError, GraphqlError

_AGAIN_SECONDS = 3_600.0  # one line an hour for what every answer says

_log = logs.logger("shopify")


class Watch:
    """One for each client."""

    def __init__(self, version: str, clock: Clock) -> None:
        self._version = version
        self._told: TTLCache[object, bool] = TTLCache(1_000, _AGAIN_SECONDS, clock.monotonic)

    def heard(self, call: Call, headers: Mapping[str, str]) -> None:
        """What the headers of any answer say of the API itself."""
        if (reason := headers.get("X-Shopify-API-Deprecated-Reason")) is not None:
            metrics.DEPRECATED.inc()
            self._warn_once(
                "Shopify calls something deprecated that a query uses.", call, reason=reason[:300]
            )
        answered = headers.get("X-Shopify-API-Version")
        if answered is not None and answered != self._version:
            metrics.FELL_FORWARD.inc()
            self._warn_once(
                "Shopify answers in another version than SHOPIFY_API_VERSION: that one has retired.", call,
                wanted=self._version, answered=answered[:20],
            )  # fmt: skip

    def answered(self, call: Call, answer: Answer) -> None:
        """An answer with data."""
        metrics.REQUESTS.labels(call.label, "partial" if answer.partial else "ok").inc()
        if answer.cost is not None and answer.cost.actual is not None:
            metrics.POINTS.inc(answer.cost.actual)
        if answer.partial and not _lacks(answer.errors, call.may_lack):
            _log.warning(
                "Shopify gave part of what was asked for.", shop=call.shop, operation=call.query.name,
                request_id=answer.request_id, codes=sorted({error.code for error in answer.errors}),
            )  # fmt: skip
        else:
            _log.debug(
                "Shopify answered.", shop=call.shop, operation=call.query.name, request_id=answer.request_id
            )

    def failed(self, call: Call, error: AdminError) -> None:
        """No answer, or none with data."""
        status = _status(error)
        metrics.REQUESTS.labels(call.label, status).inc()
        if status == "throttled":
            metrics.THROTTLED.inc()
        log = (
            _log.debug
            if isinstance(error, errors.QueryRefused) and _lacks(error.errors, call.may_lack)
            else _log.warning
        )
        log(
            "A call to Shopify failed.", shop=call.shop, operation=call.query.name, result=status,
            request_id=error.request_id, http_status=error.status, error=str(error),
        )  # fmt: skip

    def _warn_once(self, sentence: str, call: Call, **fields: str) -> None:
        key = (sentence, call.label, *fields.values())
        if key not in self._told:
            self._told[key] = True
            _log.warning(sentence, operation=call.query.name, **fields)


def _lacks(found: Sequence[GraphqlError], field: str | None) -> bool:
    """Whether all that is wrong is that there is no such thing."""
    return field is not None and bool(found) and all(error.path == (field,) for error in found)


def _status(error: AdminError) -> str:
    match error:
        case TooMany():
            return "throttled"
        case TokenRefused():
            return "unauthorized"
        case Faulty():
            return "faulty"
        case errors.Refused():
            return "refused"
        case errors.Postponed():
            return "postponed"
    return "no_answer"
