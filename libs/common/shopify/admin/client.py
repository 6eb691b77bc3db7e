"""Calls the Admin API for shops: tokens, points, repetitions and circuits are its matter, not its callers'.

    answer = await admin.graphql("one.myshopify.com", "query Name { shop { name } }")
    answer.data["shop"]["name"]

What goes wrong is in `errors`. What is tried again by itself, within the caller's `timeout`:

    what                                    queries     mutations
    THROTTLED, 429                          yes         yes: Shopify did not begin
    401                                     once, with another token
    no connection                           yes         yes: nothing was sent
    5xx, 520, no answer, no JSON,
    INTERNAL_SERVER_ERROR                   yes         only with an idempotency key
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from libs.common.clock import Clock
from libs.common.shopify.admin import errors
from libs.common.shopify.admin.answers import Answer, Faulty, TokenRefused, TooMany
from libs.common.shopify.admin.breaker import Breakers
from libs.common.shopify.admin.budgets import Budgets
from libs.common.shopify.admin.calls import Call, Calls
from libs.common.shopify.admin.costs import Cost
from libs.common.shopify.admin.errors import AdminError
from libs.common.shopify.admin.lanes import ApiLane
from libs.common.shopify.admin.watch import Watch
from libs.common.shopify.admin.wire import NoAnswer, NothingSent, Wire
from libs.common.shopify.shop_domain import shop_domain
from libs.common.token_client import AuthAway, NeedsAuthorization, ShopToken, TokenClient

TIMEOUT = 20.0  # seconds for a call, with all its waiting and repeating
TRIES = 3  # of a call that fails in a way that passes
_FIRST_PAUSE = 0.3  # seconds before the second try; doubled for the third
_ACCESS_SECONDS = 3_600.0  # a merchant who has to open the app does not do it within a minute
_AUTH_SECONDS = 5.0


class AdminClient:
    """Calls any shop's Admin API. `admin.open.open_admin` makes one."""

    def __init__(self, wire: Wire, tokens: TokenClient, budgets: Budgets, clock: Clock, watch: Watch) -> None:
        self._wire, self._tokens, self._budgets = wire, tokens, budgets
        self._clock, self._watch = clock, watch
        self._breakers, self._calls = Breakers(clock), Calls()

    async def graphql(
        self,
        shop: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        lane: ApiLane = ApiLane.ORDERS,
        timeout: float = TIMEOUT,
        idempotency_key: str | None = None,
        may_lack: str | None = None,
    ) -> Answer:
        """The shop's answer within `timeout` seconds; raises `AdminError`, `NotInstalled` or `InvalidShopDomain`.

        `idempotency_key` goes to Shopify as the variable `idempotencyKey`, which the query has to hand on to
        `@idempotent`; a mutation that has one is repeated where its answer is lost. `may_lack` names a field for which
        Shopify raises an error where there is none; that is raised as any other, and no reason to warn.
        """
        call = self._calls.make(shop_domain(shop), query, variables or {}, lane, idempotency_key, may_lack)
        until = self._clock.monotonic() + timeout
        token, tries, refused = await self._token(call.shop, until), 0, False
        while True:
            try:
                return await self._attempt(call, token, until)
            except TokenRefused as error:
                if refused:
                    raise _as(errors.AccessEnded(_ACCESS_SECONDS, str(error)), error) from error
                token, refused = await self._token(call.shop, until, token), True
            except (TooMany, Faulty, NoAnswer, NothingSent) as error:
                tries += 1
                await self._pause(call, error, tries, until)

    async def _attempt(self, call: Call, token: ShopToken, until: float) -> Answer:
        """One request, with its points paid for."""
        taken = await self._points(call, until)
        used, cost = taken, None  # what is not heard of again counts as used
        try:
            answer = await self._wire.send(call, token.access_token, until - self._clock.monotonic())
            cost = answer.cost
            used = _used(cost, otherwise=taken)
        except AdminError as error:
            cost = error.cost
            used = _used(cost, otherwise=taken if isinstance(error, Faulty | NoAnswer) else 0.0)
            self._judge(call, error)
            raise
        finally:
            self._calls.learn(call, cost)
            self._budgets.settle(call.shop, taken, used, cost.bucket if cost else None)
        self._breakers.worked(call.shop)
        self._watch.answered(call, answer)
        return answer

    async def _points(self, call: Call, until: float) -> float:
        """Waits until the shop has the points for a call, and takes them."""
        self._breakers.admit(call.shop)
        points = self._calls.cost(call)
        try:
            await self._budgets.take(call.shop, points, call.lane, until)
        except BaseException:
            self._breakers.unused(call.shop)
            raise
        return points

    def _judge(self, call: Call, error: AdminError) -> None:
        """What an error says of the shop, beyond this call."""
        self._watch.failed(call, error)
        match error:
            case errors.SecurityRejection():
                self._breakers.hold(call.shop, error.seconds, str(error))
            case Faulty() if error.errors:
                pass  # one query's own fault: the shop did answer
            case Faulty() | NoAnswer() | NothingSent():
                self._breakers.failed(call.shop, str(error))
            case _:
                self._breakers.worked(call.shop)

    async def _pause(self, call: Call, error: AdminError, tries: int, until: float) -> None:
        """Waits before the next try, or raises what the caller is to know."""
        seconds = _FIRST_PAUSE * 2 ** min(tries - 1, 5) * random.uniform(1.0, 1.5)
        if isinstance(error, TooMany) and error.after is not None:
            seconds = error.after + random.uniform(0.0, 0.5)
        is_last = self._clock.monotonic() + seconds >= until
        if isinstance(error, TooMany):
            final: AdminError | None = errors.Throttled(max(1.0, seconds), str(error)) if is_last else None
        elif not (call.repeatable or isinstance(error, NothingSent)):
            final = errors.OutcomeUnknown(f"{call.query.name} may have been done: {error}")
        else:
            final = errors.Unavailable(str(error)) if is_last or tries >= TRIES else None
        if final is not None:
            raise _as(final, error) from error
        await self._clock.sleep(seconds)

    async def _token(self, shop: str, until: float, refused: ShopToken | None = None) -> ShopToken:
        """The shop's token; another one where Shopify has refused the first."""
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                return await (self._tokens.token(shop) if refused is None else self._tokens.renewed(refused))
        except TimeoutError as error:
            raise errors.TokenAway(_AUTH_SECONDS, "services/auth did not answer in time") from error
        except AuthAway as error:
            raise errors.TokenAway(error.retry_after or _AUTH_SECONDS, str(error)) from error
        except NeedsAuthorization as error:
            raise errors.AccessEnded(_ACCESS_SECONDS, str(error)) from error


def _used(cost: Cost | None, *, otherwise: float) -> float:
    """Points that stay taken: what Shopify says, and `otherwise` where it says nothing."""
    if cost is None:
        return otherwise
    return 0.0 if cost.actual is None else cost.actual


def _as(error: AdminError, cause: AdminError) -> AdminError:
    """The error with what is known of the answer that it comes from."""
    error.request_id, error.status, error.cost = cause.request_id, cause.status, cause.cost
    error.errors = cause.errors
    return error
