"""A shop's offline token: given out while it is good, renewed before it ends, kept when a merchant grants a new one."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import orjson
from cachetools import LRUCache

from libs.common.clock import Clock
from libs.common.contracts.envelope import Draft
from libs.common.db import Connection, connection, database_away_named
from libs.common.outbox.faults import FaultPoints
from libs.common.shopify.access_tokens import AppCredentials
from libs.common.shopify.token_answers import Grant, Granted, Outcome, Refused, Unsettled
from services.auth import installs, store
from services.auth.endpoint import Asks
from services.auth.installs import Install
from services.auth.refusals import AppUnknown, NeedsAuthorization, NotInstalled, TryLater
from services.auth.store import Sealed
from services.auth.turns import Turn, Turns
from services.auth.vault import Vault, offline_id

EARLY = timedelta(minutes=5)
"""How long before its end a token is renewed."""

LAST_USE = timedelta(seconds=30)
"""A token that ends sooner is not given out: the call it is for may take that long."""

FOR_EVER = timedelta(hours=1)
"""What a token without an end is said to last, so that nobody keeps it longer than any other."""

_TRIES = 2
_AGAIN_SECONDS = 5.0
_QUIET_SECONDS = 2.0  # for which Shopify is not asked again for a shop whose answer did not come
_MOST_QUIET_SECONDS = 60.0  # where Shopify itself says for how long
_PATIENCE_SECONDS = 1.0  # for a turn, where the token that is held will do
_MOST_QUIET = 10_000  # shops


@dataclass(frozen=True, slots=True)
class Due:
    """When a token is to be renewed: soon before its end, or what else is said here."""

    refused: int | None = None  # the version that Shopify did not take any more
    refresh_within: timedelta | None = None  # also where the refresh token ends within this span
    always: bool = False  # and whoever asks wants a new one or none

    def of(self, held: Sealed, now: datetime) -> bool:
        ends, refresh_ends = held.expires_at, held.refresh_expires_at
        return (
            self.always
            or held.version == self.refused
            or _before(ends, now + EARLY)
            or (self.refresh_within is not None and _before(refresh_ends, now + self.refresh_within))
        )

    def spares(self, held: Sealed) -> bool:
        """Whether the token that is held will do where there is no new one."""
        return not self.always and held.version != self.refused


@dataclass(frozen=True, slots=True)
class Usable:
    """A token that a service may call Shopify with."""

    shop: str
    access_token: str = field(repr=False)
    scopes: str
    expires_at: datetime
    version: int
    generation: int
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a grant."""

    install: Install
    is_new: bool


class Tokens:
    """The tokens of all shops. Whoever gets, renews or ends one has the shop's turn."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        turns: Turns,
        endpoint: Asks,
        app: AppCredentials,
        vault: Vault,
        clock: Clock,
        *,
        timeout: float,
        faults: FaultPoints | None = None,
    ) -> None:
        self.turns, self.vault, self.clock = turns, vault, clock
        self._pool, self._endpoint, self._timeout = pool, endpoint, timeout
        self.app = app
        self._faults = faults or FaultPoints()
        self._quiet: LRUCache[str, float] = LRUCache(_MOST_QUIET)

    async def usable(self, shop: str, refused: int | None = None) -> Usable:
        """A token that lasts, renewed where it is time, or where Shopify refused the version that the caller had.

        Raises `NotInstalled`, `NeedsAuthorization`, `TryLater` or `DatabaseAway`.
        """
        due, held = Due(refused), await self.held(shop)
        if not due.of(held, self.clock.now()):
            return self._usable(held)
        if not self._will_do(held, due):
            return await self.renew(shop, due)
        try:
            return await self.renew(shop, due, patience=_PATIENCE_SECONDS)
        except TryLater:  # there is time yet
            return self._usable(held)

    async def held(self, shop: str) -> Sealed:
        """The offline session as it is; raises `NotInstalled` or `NeedsAuthorization` where there is none."""
        async with connection(self._pool, self._timeout) as conn:
            with database_away_named():
                held = await store.session(conn, offline_id(shop))
                if held is None:
                    raise await _missing(conn, shop)
                return held

    async def renew(self, shop: str, due: Due, *, patience: float | None = None) -> Usable:
        """Renews the token if it is still due when it is this request's turn. Raises as `usable` does."""
        async with self.turns.turn(shop, patience) as turn:
            held = await store.session(turn.conn, offline_id(shop))
            result = await _missing(turn.conn, shop) if held is None else await self._renewed(turn, held, due)
        if isinstance(result, Exception):  # raised only now, since what was found out has to be committed
            raise result
        return result

    async def keep(self, turn: Turn, shop: str, granted: Granted, *, at: datetime, announce: bool) -> Kept:
        """Keeps an offline grant, in the shop's turn; the shop is announced as installed if it was not, or if asked."""
        known = await store.install(turn.conn, shop)
        install = installs.granted(known, at)
        is_new = known is None or known.generation != install.generation
        await store.keep_install(turn.conn, shop, install)
        await store.keep_scopes(turn.conn, shop, str(granted.scopes), at)
        sealed = self.vault.seal(shop, granted, generation=install.generation, at=at)
        version = await store.keep_session(turn.conn, sealed)
        drafts = [_rotated(shop, install.generation, version)]
        if is_new or announce:
            drafts.append(installed(shop, install, str(granted.scopes)))
        await store.forget_cached(turn.conn, shop)
        await turn.emit(drafts)
        await self._faults.reach("token kept, not committed")
        return Kept(install, is_new)

    async def keep_online(self, turn: Turn, shop: str, granted: Granted, *, at: datetime) -> None:
        """Keeps a grant for one user, in the shop's turn; raises `NotInstalled`."""
        known = await store.install(turn.conn, shop)
        if known is None or not known.alive:  # uninstalled between the offline grant and this one
            raise NotInstalled
        await store.keep_session(
            turn.conn, self.vault.seal(shop, granted, generation=known.generation, at=at)
        )

    async def ask(
        self, turn: Turn, grant: Grant, shop: str, form: dict[str, str], *, tries: int = 1
    ) -> Outcome:
        """Asks Shopify, again with the same form while nobody knows what it did."""
        outcome: Outcome = Unsettled("not asked")
        for _ in range(tries):
            self.turns.check(turn)
            outcome = await self._endpoint.ask(grant, shop, form)
            if not isinstance(outcome, Unsettled) or outcome.retry_after:
                break
        await self._faults.reach("token answered, not kept")
        return outcome

    async def _renewed(self, turn: Turn, held: Sealed, due: Due) -> Usable | Exception:
        if not due.of(held, self.clock.now()):
            return self._usable(held)
        if held.refused_at is not None or self._refresh_over(held):
            return await self._given_up(turn, held, due)
        left = self._quiet.get(held.shop, 0.0) - self.clock.monotonic()
        if left > 0:
            return self._stopgap(held, due, TryLater("Shopify did not answer a moment ago", left))
        return await self._refreshed(turn, held, due)

    async def _refreshed(self, turn: Turn, held: Sealed, due: Due) -> Usable | Exception:
        grant, form = self._shown(held)
        outcome = await self.ask(turn, grant, held.shop, form, tries=_TRIES)
        match outcome:
            case Granted():
                return await self.swap(turn, held, outcome)
            case Refused():
                return await self._given_up(turn, held, due)
            case Unsettled(reason=reason, retry_after=seconds):
                error = TryLater(f"Shopify: {reason}", seconds or _AGAIN_SECONDS)
                return self._later(
                    held, due, error, quiet=min(seconds or _QUIET_SECONDS, _MOST_QUIET_SECONDS)
                )
        return self._later(held, due, AppUnknown(), quiet=_QUIET_SECONDS)

    def _shown(self, held: Sealed) -> tuple[Grant, dict[str, str]]:
        """What gets a new pair; a token without a refresh token is turned into one that has one.

        It may have been already, by a migration whose answer was lost: Shopify answers that pair again.
        """
        refresh = self.vault.refresh_token(held)
        if refresh is None:
            return Grant.MIGRATION, self.app.migration(self.vault.access_token(held))
        return Grant.REFRESH, self.app.refresh(refresh)

    def _later(self, held: Sealed, due: Due, error: TryLater, *, quiet: float) -> Usable | Exception:
        """Others who wait for the same shop are spared the same wait for Shopify."""
        self._quiet[held.shop] = self.clock.monotonic() + quiet
        return self._stopgap(held, due, error)

    async def swap(self, turn: Turn, held: Sealed, granted: Granted) -> Usable | Exception:
        """Puts a new pair in place of the one that was shown to Shopify, in the shop's turn."""
        made = self.vault.renewed(held, granted, at=self.clock.now())
        version = await store.swap_tokens(turn.conn, held.version, made)
        if version is None:
            return TryLater("the token changed meanwhile", 1.0)
        await store.forget_cached(turn.conn, held.shop)
        await turn.emit([_rotated(held.shop, held.generation, version)])
        await self._faults.reach("token kept, not committed")
        return Usable(
            held.shop,
            granted.access_token,
            made.scopes,
            granted.expires_at,
            version,
            held.generation,
            renewed=True,
        )

    async def _given_up(self, turn: Turn, held: Sealed, due: Due) -> Usable | Exception:
        """There will be no new token by itself; the one there is serves to its end, if Shopify still takes it."""
        spared = due.spares(held)
        await store.mark_refused(turn.conn, held.id, held.version, self.clock.now(), over=not spared)
        return self._stopgap(held, due, NeedsAuthorization())

    def _stopgap(self, held: Sealed, due: Due, otherwise: Exception) -> Usable | Exception:
        """The token that is held, if it lasts a little longer and Shopify has not refused it."""
        return self._usable(held) if self._will_do(held, due) else otherwise

    def _will_do(self, held: Sealed, due: Due) -> bool:
        return due.spares(held) and not _before(held.expires_at, self.clock.now() + LAST_USE)

    def _usable(self, held: Sealed) -> Usable:
        ends = held.expires_at or self.clock.now() + FOR_EVER
        token = self.vault.access_token(held)
        return Usable(held.shop, token, held.scopes, ends, held.version, held.generation)

    def _refresh_over(self, held: Sealed) -> bool:
        return _before(held.refresh_expires_at, self.clock.now())


async def _missing(conn: Connection, shop: str) -> NotInstalled | NeedsAuthorization:
    """Why there is no session of a shop."""
    known = await store.install(conn, shop)
    return NeedsAuthorization() if known is not None and known.alive else NotInstalled()


def _before(moment: datetime | None, limit: datetime) -> bool:
    return moment is not None and moment <= limit


def installed(shop: str, install: Install, scopes: str) -> Draft:
    """The message that a shop has the app."""
    facts = {
        "shop": shop,
        "generation": install.generation,
        "scopes": scopes,
        "granted_at": install.granted_at,
    }
    return Draft("shop.installed", orjson.dumps(facts, option=orjson.OPT_UTC_Z), shop=shop)


def _rotated(shop: str, generation: int, version: int) -> Draft:
    facts = {"shop": shop, "generation": generation, "version": version}
    return Draft("token.rotated", orjson.dumps(facts), shop=shop)
