"""Keeps every shop's webhook subscriptions as they are wanted: reads them, repairs them, remembers what was done."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID, uuid4

import asyncpg

from libs.common import logs
from libs.common.contracts.subscriptions import WANTED, Wanted, by_api
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.runtime.calls import AdminApi
from libs.common.shopify.admin.errors import AccessDenied, AdminError, UserErrors
from libs.common.token_client import NotInstalled
from services.webhooks import metrics, subscriptions_api, subscriptions_store
from services.webhooks.api_failures import AGAIN_SECONDS, failure
from services.webhooks.subscriptions_api import Found
from services.webhooks.subscriptions_plan import State, Step, fingerprint, plan
from services.webhooks.subscriptions_store import Standing

P = ParamSpec("P")
T = TypeVar("T")
Tried = Mapping[str, tuple[str, str]]

LEASE_SECONDS = 120.0  # longer than a check may take
_IDLE_SECONDS = 15.0  # between two looks for what is due, if nobody says so
_AWAY_SECONDS = 2.0

_log = logs.logger("webhooks")


@dataclass(frozen=True, slots=True)
class Keeper:
    """Checks shops. Any number of processes may do it: each shop is one's at a time, by a lease in Postgres."""

    pool: asyncpg.Pool
    admin: AdminApi
    uri: str
    timeout: float  # for Postgres
    every: float  # seconds between two checks of a shop
    days: int  # for which history is kept
    wanted: tuple[Wanted, ...] = WANTED
    lease: float = LEASE_SECONDS
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Something has become due just now."""
        self._wake.set()

    async def run(self) -> None:
        """Checks what is due, one shop after the other, until cancelled."""
        while True:
            self._wake.clear()
            try:
                if await self.turn():
                    continue
                nap = _IDLE_SECONDS
            except DatabaseAway:
                nap = _AWAY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._wake.wait()

    async def turn(self) -> bool:
        """Checks the shop that is most overdue; False where none is due."""
        holder = uuid4()
        shop = await self._do(subscriptions_store.take_due, holder, timedelta(seconds=self.lease))
        if shop is not None:
            await self._check(shop, holder, await self._do(subscriptions_store.tried, shop))
        return shop is not None

    async def check_now(self, shop: str) -> bool:
        """Checks a shop, asking again for what was refused before; False while another check is under way."""
        holder = uuid4()
        taken = await self._do(subscriptions_store.take, shop, holder, timedelta(seconds=self.lease))
        if taken:
            await self._check(shop, holder, {})
        return taken

    async def _check(self, shop: str, holder: UUID, tried: Tried) -> None:
        """Ends in one of the outcomes of the metric; only `DatabaseAway` is raised."""
        try:
            async with asyncio.timeout(self.lease * 0.8):
                found = await self._repair(shop, holder, tried)
            await self._finish(shop, holder, found)
            outcome = "done"
        except DatabaseAway:
            raise
        except NotInstalled:
            await self._end(shop, holder)
            outcome = "not_installed"
        except (AdminError, TimeoutError) as error:
            outcome, seconds = failure(error)
            await self._fail(shop, holder, str(error) or "the check took too long", seconds)
        except Exception:  # noqa: BLE001 - one shop's surprise must not keep the others waiting
            _log.exception("A check of webhook subscriptions failed.", shop=shop)
            await self._fail(shop, holder, "a fault of ours, which is in the log", AGAIN_SECONDS)
            outcome = "fault"
        metrics.SUBSCRIPTION_CHECKS.labels(outcome).inc()

    async def _repair(self, shop: str, holder: UUID, tried: Tried) -> list[Standing]:
        found = await subscriptions_api.read(self.admin, shop)
        steps = plan(by_api(self.wanted), found.actual, self.uri)
        standings = [await self._settle(shop, holder, step, found, tried) for step in steps]
        return [one for one in standings if one is not None]

    async def _settle(
        self, shop: str, holder: UUID, step: Step, found: Found, tried: Tried
    ) -> Standing | None:
        """Does what a step is about; how it stands then, or None for what is gone."""
        if step.state is State.OK:
            return _standing(step, State.OK)
        mark = f"{step.state} {fingerprint(step.wanted, self.uri, found.scopes)}" if step.wanted else None
        known, problem = tried.get(step.topic, (None, None))
        if mark is not None and known == mark:
            return _standing(step, State.CANNOT, problem, mark)
        try:
            action, identifier = await self._apply(shop, step)
        except (UserErrors, AccessDenied) as error:
            problem = _problem(step, found.scopes, str(error))
            await self._note(shop, holder, step, "refused", problem)
            return _standing(step, State.CANNOT if step.wanted else step.state, problem, mark)
        await self._note(shop, holder, step, action, _detail(step, self.uri))
        if step.wanted is None:
            return None
        return Standing(step.topic, identifier, State.OK, self.uri, None, None)

    async def _apply(self, shop: str, step: Step) -> tuple[str, str]:
        """The action in a word, and the id of the subscription."""
        if step.wanted is None:
            await subscriptions_api.delete(self.admin, shop, step.identifier)
            return "deleted", ""
        if step.actual is None:
            return "created", (await subscriptions_api.create(self.admin, shop, step.wanted, self.uri)).id
        await subscriptions_api.update(self.admin, shop, step.identifier, step.wanted, self.uri)
        return "updated", step.identifier

    async def _note(self, shop: str, holder: UUID, step: Step, action: str, detail: str) -> None:
        """At once, so that what was done is known even if the check breaks off."""
        metrics.SUBSCRIPTION_REPAIRS.labels(action).inc()
        _log.info(
            "A webhook subscription was repaired.", shop=shop, topic=step.topic, action=action, detail=detail
        )
        await self._do(subscriptions_store.note, shop, holder, step.topic, action, detail)

    async def _finish(self, shop: str, holder: UUID, found: list[Standing]) -> None:
        every, keep = timedelta(seconds=self.every), timedelta(days=self.days)
        await self._do(subscriptions_store.finish, shop, holder, every, keep, found)

    async def _fail(self, shop: str, holder: UUID, why: str, seconds: float) -> None:
        await self._do(subscriptions_store.fail, shop, holder, why, timedelta(seconds=seconds))

    async def _end(self, shop: str, holder: UUID) -> None:
        await self._do(subscriptions_store.end, shop, holder, "the app is not installed")

    async def _do(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    return await work(conn, *args, **kwargs)


def _standing(step: Step, state: State, problem: str | None = None, tried: str | None = None) -> Standing:
    uri = step.actual.uri if step.actual else None
    return Standing(step.topic, step.identifier, state, uri, problem, tried)


def _problem(step: Step, scopes: frozenset[str], told: str) -> str:
    scope = step.wanted.scope if step.wanted else None
    missing = scope is not None and scope not in scopes
    return f"cannot: scope {scope} missing" if missing else f"cannot: {told}"


def _detail(step: Step, uri: str) -> str:
    if step.actual is None:
        return f"at {uri}"
    return f"was at {step.actual.uri}" + ("" if step.wanted is None else f", is at {uri}")
