"""Sends one request to the Admin API and reads its answer: aiohttp stands here and nowhere else."""

from collections.abc import Mapping

import aiohttp

from libs.common.clock import Clock
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.admin import metrics
from libs.common.shopify.admin.answers import Answer, read_answer
from libs.common.shopify.admin.calls import Call
from libs.common.shopify.admin.errors import AdminError
from libs.common.shopify.admin.watch import Watch

_ATTEMPT_SECONDS = 15.0  # for one answer
_CONNECT_SECONDS = 5.0


class NoAnswer(AdminError):
    """The request may have been sent, and nothing whole came back."""


class NothingSent(AdminError):
    """There was no connection."""


class Wire:
    """Connections to Shopify."""

    def __init__(
        self, http: aiohttp.ClientSession, addresses: Addresses, version: str, clock: Clock, watch: Watch
    ) -> None:
        self._http, self._addresses, self._version = http, addresses, version
        self._clock, self._watch = clock, watch

    async def send(self, call: Call, access_token: str, seconds: float) -> Answer:
        """The answer, or the error that it is; raises `NoAnswer` or `NothingSent` where none came in time."""
        asked_at, started = self._clock.now(), self._clock.monotonic()
        try:
            status, headers, body = await self._post(call, access_token, min(_ATTEMPT_SECONDS, seconds))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NothingSent(f"Shopify cannot be reached: {type(error).__name__}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise NoAnswer(f"Shopify did not answer: {type(error).__name__}") from error
        finally:
            metrics.SECONDS.observe(self._clock.monotonic() - started)
        self._watch.heard(call, headers)
        return read_answer(status, headers, body, asked_at=asked_at)

    async def _post(
        self, call: Call, access_token: str, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with self._http.post(
            f"{self._addresses.store(call.shop)}/admin/api/{self._version}/graphql.json",
            data=call.body,
            headers={"Content-Type": "application/json", "X-Shopify-Access-Token": access_token},
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_SECONDS, seconds)),
            allow_redirects=False,  # the token goes to this address and to no other
        ) as response:
            return response.status, response.headers, await response.read()
