"""What auth does: begins and finishes installs, exchanges session tokens, ends installs, takes in new scopes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox.faults import FaultPoints
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.addresses import Addresses
from libs.common.shopify.launch import SignedQuery
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.session_token import SessionToken
from libs.common.shopify.token_answers import Grant, Outcome
from services.auth import answers, installs, metrics, states_store, store
from services.auth.installs import Install, Meaning, Verdict
from services.auth.refusals import (
    AppUnknown,
    BeginAgain,
    GrantRefused,
    NeedsAuthorization,
    NotInstalled,
    TooManyInstalls,
    TryLater,
)
from services.auth.states import LIFE, Started, States, cookie_name, is_state, mark
from services.auth.states_store import Begun, Most
from services.auth.store import Sealed
from services.auth.tokens import Due, Kept, Tokens
from services.auth.turns import Turn
from services.auth.vault import offline_id, online_id

CALLBACK = "/auth/callback"

_ASK_AGAIN_FOR_SCOPES = timedelta(minutes=1)
_ALMOST_OVER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class App:
    """What the app is at Shopify, and where it is on the web."""

    credentials: AppCredentials
    scopes: Scopes  # that it needs; none where only the app's configuration at Shopify says so
    addresses: Addresses
    public_url: str
    most: Most  # installs under way

    @property
    def redirect_uri(self) -> str:
        return self.public_url + CALLBACK


@dataclass(frozen=True, slots=True)
class Access:
    """What a merchant's page is told about the access there is. Never a token."""

    shop: str
    user_id: int | None
    scopes: Scopes
    missing: Scopes
    expires_at: datetime | None
    online_expires_at: datetime | None = None


class Auth:
    """Installs and their ends, for all shops."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        tokens: Tokens,
        states: States,
        app: App,
        clock: Clock,
        *,
        timeout: float,
        faults: FaultPoints | None = None,
    ) -> None:
        self.app = app
        self._pool, self._tokens, self._states, self._clock = pool, tokens, states, clock
        self._timeout, self._faults = timeout, faults or FaultPoints()

    # the code grant

    async def begin(self, shop: str, address: str, *, launched: bool) -> tuple[str, Started]:
        """Where to send the merchant for consent, and the state to bind the browser to.

        `launched`: Shopify signed the request. Raises `TooManyInstalls` or `DatabaseAway`.
        """
        started = self._states.start()
        now, sender = self._clock.now(), self._states.sender_mark(address)
        begun = Begun(started.mark, shop, sender, launched, now + LIFE)
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                if not await states_store.keep(conn, begun, self.app.most, now):
                    raise _too_many(await states_store.full_until(conn, begun, self.app.most, now), now)
        consent = self.app.addresses.consent(
            shop, client_id=self.app.credentials.client_id, scopes=self.app.scopes,
            redirect_uri=self.app.redirect_uri, state=started.state,
        )  # fmt: skip
        return consent, started

    async def finish(self, query: SignedQuery, cookies: Mapping[str, str]) -> Kept:
        """Turns the code of a callback into an install; raises `GrantRefused`, `BeginAgain` or `DatabaseAway`."""
        state, code = query.parameters.get("state", ""), query.parameters.get("code", "")
        if not code or not is_state(state):
            raise GrantRefused("missing", "the callback has no code or no state of ours")
        if not self._states.began_here(state, cookies.get(cookie_name(state))):
            raise GrantRefused(
                "cookie", "this browser did not begin this install, or too long ago; begin again"
            )
        await self._take_state(state, query.shop)
        await self._faults.reach("install state taken, code not sent")
        try:
            kept = await self._redeem(query.shop, code)
        except (
            TryLater,
            DatabaseAway,
        ) as error:  # the state is used up: the same request cannot succeed any more
            why = "the database is away" if isinstance(error, DatabaseAway) else str(error)
            raise BeginAgain(f"{why}; begin the install again in a while") from error
        metrics.INSTALLS.labels("code", str(kept.is_new).lower()).inc()
        return kept

    async def _redeem(self, shop: str, code: str) -> Kept:
        async with self._tokens.turns.turn(shop) as turn:
            at = self._clock.now()
            outcome = await self._tokens.ask(turn, Grant.CODE, shop, self.app.credentials.code(code))
            granted = answers.offline(outcome)
            if not granted.scopes.cover(self.app.scopes):
                lacking = granted.scopes.lacking(self.app.scopes)
                raise GrantRefused("scopes", f"the app also needs {lacking}; install it with all it asks for")
            return await self._tokens.keep(turn, shop, granted, at=at, announce=True)

    async def _take_state(self, state: str, shop: str) -> None:
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                began = await states_store.take(conn, mark(state), self._clock.now())
        if began is None:
            raise GrantRefused(
                "state", "this install was finished before, or begun too long ago; begin again"
            )
        if began != shop:
            raise GrantRefused("shop", "this install was begun for another shop")

    # token exchange

    async def access(self, caller: SessionToken, *, online: bool = False) -> Access:
        """Makes sure of offline access for the caller's shop, and of online access for the caller where asked.

        Raises `GrantRefused`, `SessionTokenRefused`, `TryLater` or `DatabaseAway`.
        """
        if not caller.of_admin:
            raise GrantRefused("not_admin", "only a page in the shop's admin may do this")
        held = await self._read(offline_id(caller.shop), caller.shop)
        if held is None:
            held = await self._exchange(caller, offline_id(caller.shop), online=False)
        personal = None
        if online:
            personal = await self._personal(caller)
        scopes = Scopes.parse(held.scopes)
        missing = scopes.lacking(self.app.scopes)
        ends = personal.expires_at if personal else None
        return Access(caller.shop, caller.user_id, scopes, missing, held.expires_at, ends)

    async def _personal(self, caller: SessionToken) -> Sealed:
        if caller.user_id is None:
            raise GrantRefused("no_user", "the session token names no member of the shop's staff")
        name = online_id(caller.shop, caller.user_id)
        held = await self._read(name, caller.shop)
        return held or await self._exchange(caller, name, online=True)

    async def _read(self, name: str, shop: str) -> Sealed | None:
        """The session, if it is as good as a new one."""
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                return await self._good(conn, name, shop)

    async def _good(self, conn: Connection, name: str, shop: str) -> Sealed | None:
        held, known = await store.session(conn, name), await store.install(conn, shop)
        if held is None or known is None or not known.alive or held.refused_at is not None:
            return None
        now = self._clock.now()
        lasts = held.refresh_expires_at or held.expires_at
        if lasts is not None and lasts <= now + _ALMOST_OVER:
            return None
        lacking = held.user_id is None and not Scopes.parse(held.scopes).cover(self.app.scopes)
        return None if lacking and held.granted_at < now - _ASK_AGAIN_FOR_SCOPES else held

    async def _exchange(self, caller: SessionToken, name: str, *, online: bool) -> Sealed:
        """One of several page loads gets the token; the others find it when it is their turn."""
        async with self._tokens.turns.turn(caller.shop) as turn:
            held = await self._good(turn.conn, name, caller.shop)
            if held is not None:
                return held
            at = self._clock.now()
            form = self.app.credentials.exchange(caller.text, online=online)
            outcome = await self._tokens.ask(turn, Grant.EXCHANGE, caller.shop, form, tries=2)
            return await self._keep_exchanged(turn, caller, outcome, at=at, online=online)

    async def _keep_exchanged(
        self, turn: Turn, caller: SessionToken, outcome: Outcome, *, at: datetime, online: bool
    ) -> Sealed:
        if online:
            await self._tokens.keep_online(turn, caller.shop, answers.of_user(outcome, caller), at=at)
            name = online_id(caller.shop, caller.user_id or 0)
        else:
            kept = await self._tokens.keep(turn, caller.shop, answers.offline(outcome), at=at, announce=False)
            metrics.INSTALLS.labels("exchange", str(kept.is_new).lower()).inc()
            name = offline_id(caller.shop)
        made = await store.session(turn.conn, name)
        assert made is not None  # noqa: S101 - it was written in this transaction
        return made

    # ends and changes; the caller's transaction is the one that ends the message

    async def verdict(self, shop: str, at: datetime) -> Verdict:
        """Whether the install outlived an uninstall at this moment, where only Shopify can tell.

        Raises `TryLater` where Shopify does not tell.
        """
        async with connection(self._pool, self._timeout) as conn:
            known = await store.install(conn, shop)
        if known is None or not installs.is_unsure(known, at):
            return Verdict()
        return Verdict(known.granted_at, await self._is_alive(shop))

    async def _is_alive(self, shop: str) -> bool | None:
        try:
            await self._tokens.renew(shop, Due(always=True))
        except (NotInstalled, NeedsAuthorization):
            return False
        except (
            AppUnknown
        ):  # said of an app that was uninstalled, but of a wrong secret too: the times have to do
            return None
        return True

    async def end(
        self, conn: Connection, shop: str, at: datetime, verdict: Verdict
    ) -> tuple[Meaning, Install | None]:
        """Ends the install that an uninstall belongs to; returns what it meant, and the install that is known now.

        Raises `TryLater` where there was a grant since the verdict, so that Shopify has to be asked anew.
        """
        await store.lock(conn, shop, seconds=self._timeout * 5)
        known = await store.install(conn, shop)
        if installs.is_stale(known, at, verdict):
            raise TryLater("the app was granted access again meanwhile", 1.0)
        what = installs.meaning_told(known, at, verdict)
        metrics.UNINSTALLS.labels(what.value).inc()
        if known is None or what in {Meaning.UNKNOWN, Meaning.EARLIER}:
            return what, known
        after = installs.uninstalled(known, at, what)
        await store.keep_install(conn, shop, after)
        await store.end_sessions(conn, shop, at if what is Meaning.REPLACED else max(at, known.granted_at))
        await store.count_up_sessions(conn, shop, after.generation)  # those of the install that followed
        await store.forget_cached(conn, shop)
        return what, after

    async def rescope(self, conn: Connection, shop: str, scopes: Scopes, at: datetime) -> Scopes | None:
        """Takes in what a merchant grants now; returns what the app lacks, or None where nothing changed."""
        await store.lock(conn, shop, seconds=self._timeout * 5)
        before = await store.keep_scopes(conn, shop, str(scopes), at)
        if before is None or Scopes.parse(before) == scopes:
            return None
        await store.rescope_session(conn, offline_id(shop), str(scopes), at)
        await store.forget_cached(conn, shop)
        return scopes.lacking(self.app.scopes)

    async def scopes(self, conn: Connection, shop: str) -> str:
        """What a shop has granted."""
        return await store.scopes(conn, shop) or ""


def _too_many(full: Mapping[str, datetime | None], now: datetime) -> TooManyInstalls:
    """There is room again when the oldest is forgotten; where there is by now, at once."""
    of = "shop" if full["shop"] is not None else "sender"
    until = full[of] or now
    return TooManyInstalls(of, (until - now).total_seconds())
