"""Asks Shopify's token endpoint. Whatever keeps an answer away means that nobody knows what Shopify did."""

from dataclasses import dataclass
from typing import Protocol

import aiohttp

from libs.common import logs
from libs.common.clock import Clock
from libs.common.shopify.access_tokens import HEADERS
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.token_answers import (
    Grant,
    Granted,
    Misconfigured,
    Outcome,
    Refused,
    Unsettled,
    read_answer,
)
from services.auth import metrics

_LONGEST_ANSWER = 64 * 1024  # bytes
_NAMES = {Granted: "granted", Refused: "refused", Unsettled: "unsettled", Misconfigured: "misconfigured"}

_log = logs.logger("auth")


class Asks(Protocol):
    """What is needed of Shopify."""

    async def ask(self, grant: Grant, shop: str, form: dict[str, str]) -> Outcome:
        """One request to the shop's token endpoint; never raises for what Shopify or the network does."""


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The token endpoints of all shops, over one HTTP session."""

    http: aiohttp.ClientSession
    addresses: Addresses
    clock: Clock
    timeout: float

    async def ask(self, grant: Grant, shop: str, form: dict[str, str]) -> Outcome:
        started = self.clock.monotonic()
        outcome = await self._ask(grant, shop, form)
        metrics.ASKED_SECONDS.labels(grant.value).observe(self.clock.monotonic() - started)
        metrics.ASKED.labels(grant.value, _NAMES[type(outcome)]).inc()
        _tell(grant, shop, outcome)
        return outcome

    async def _ask(self, grant: Grant, shop: str, form: dict[str, str]) -> Outcome:
        asked_at = self.clock.now()
        limit = aiohttp.ClientTimeout(total=self.timeout)
        try:
            async with self.http.post(
                self.addresses.token_endpoint(shop),
                data=form,
                headers=HEADERS,
                timeout=limit,
                allow_redirects=False,
            ) as response:
                body = await _read(response)
                return read_answer(grant, response.status, response.headers, body, asked_at=asked_at)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Unsettled(f"no answer: {type(error).__name__}")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_LONGEST_ANSWER):
        body += chunk
        if len(body) > _LONGEST_ANSWER:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(body)


def _tell(grant: Grant, shop: str, outcome: Outcome) -> None:
    match outcome:
        case Granted(assumed_expiry=True):
            metrics.ASSUMED_EXPIRY.inc()
            _log.warning(
                "Shopify named no expiry for a token; the shortest was assumed.", shop=shop, grant=grant.value
            )
        case Misconfigured(error=error, detail=detail):
            _log.error(
                "Shopify does not know the app by SHOPIFY_API_KEY and SHOPIFY_API_SECRET, or it was uninstalled.",
                shop=shop, grant=grant.value, error=error, detail=detail,
            )  # fmt: skip
        case Refused(error=error, detail=detail):
            _log.warning("Shopify refused a grant.", shop=shop, grant=grant.value, error=error, detail=detail)
        case Unsettled(reason=reason):
            _log.warning(
                "Shopify gave no usable answer; it is asked again.",
                shop=shop,
                grant=grant.value,
                error=reason,
            )
