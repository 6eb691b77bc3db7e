"""What an operator does to all tokens at once: sealing anew, giving them an end, taking in those of an older app.

Each goes on where it was broken off: what is done is found done.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import asyncpg

from libs.common.clock import Clock
from libs.common.db import connection, database_away_named
from libs.common.outbox.faults import FaultPoints
from libs.common.shopify.scopes import Scopes
from libs.common.shopify.token_answers import Grant, Granted, Outcome, Refused
from libs.common.token_box import CannotOpen
from services.auth import sessions_store, store, upkeep_store
from services.auth.installs import Install
from services.auth.refusals import NeedsAuthorization, NotInstalled, TryLater
from services.auth.store import Sealed
from services.auth.tokens import Tokens, installed
from services.auth.turns import Turn
from services.auth.upkeep_store import Columns, Plain
from services.auth.vault import Vault, offline_id

BATCH = 100

UNINSTALLS_TRAVEL = timedelta(hours=4)
"""How long Shopify tries to deliver a webhook. A token that is taken in counts as granted that long ago, so that an
uninstall still under way ends it."""

_SOON = timedelta(days=1)

Step = Callable[[], None]


@dataclass(slots=True)
class Done:
    """What became of the sessions or shops that were gone through."""

    done: int = 0
    skipped: int = 0  # were done already
    failed: int = 0


async def reseal(
    pool: asyncpg.Pool, vault: Vault, timeout: float, step: Step, faults: FaultPoints | None = None
) -> Done:
    """Seals every session with the first key, while the service runs; counts as failed what no key opens."""
    total, after, faults = Done(), "", faults or FaultPoints()
    while True:
        async with connection(pool, timeout) as conn:
            with database_away_named():
                async with conn.transaction():
                    held = await sessions_store.take_to_reseal(conn, vault.box.key_id, after, BATCH)
                    sealed = [made for made in (_resealed(vault, one) for one in held) if made is not None]
                    await sessions_store.reseal(conn, vault.box.key_id, sealed)
                    await faults.reach("sealed anew, not committed")
        total.done += len(sealed)
        total.failed += len(held) - len(sealed)
        for _ in held:
            step()
        if len(held) < BATCH:
            return total
        after = held[-1].id


def _resealed(vault: Vault, held: Sealed) -> Sealed | None:
    try:
        return vault.resealed(held)
    except CannotOpen:
        return None


async def shops_without_expiry(pool: asyncpg.Pool, timeout: float) -> AsyncIterator[str]:
    """Shops whose token has no expiry yet."""
    after = ""
    while True:
        async with connection(pool, timeout) as conn:
            with database_away_named():
                shops = await sessions_store.without_expiry(conn, after, BATCH)
        for shop in shops:
            yield shop
        if len(shops) < BATCH:
            return
        after = shops[-1]


async def expire(tokens: Tokens, shop: str) -> str | None:
    """Turns a shop's token without expiry into an expiring pair, for good; returns in words why not, or None.

    Broken off at any point, it can be done again: Shopify answers the same pair for a week.
    """
    try:
        async with tokens.turns.turn(shop) as turn:
            held = await store.session(turn.conn, offline_id(shop))
            if held is None or held.expires_at is not None:
                return None
            form = tokens.app.migration(tokens.vault.access_token(held))
            outcome = await tokens.ask(turn, Grant.MIGRATION, shop, form, tries=2)
            return await kept(tokens, turn, held, outcome)
    except (NotInstalled, NeedsAuthorization, TryLater, CannotOpen) as error:
        return str(error)


async def kept(tokens: Tokens, turn: Turn, held: Sealed, outcome: Outcome) -> str | None:
    """Keeps the pair that took the place of what was shown; returns in words why there is none, or None."""
    if isinstance(outcome, Granted):
        await tokens.swap(turn, held, outcome)
        return None
    if isinstance(outcome, Refused):
        await store.mark_refused(turn.conn, held.id, held.version, tokens.clock.now(), over=False)
    return _in_words(outcome)


def _in_words(outcome: object) -> str:
    if isinstance(outcome, Refused):
        return f"Shopify refuses it: {outcome.error or outcome.status} {outcome.detail}".rstrip()
    return getattr(outcome, "reason", None) or "Shopify does not take the app's credentials"


async def plain_tokens(pool: asyncpg.Pool, timeout: float, table: str, columns: Columns) -> list[Plain]:
    """The offline tokens in another table of this database; raises `upkeep_store.NoSuchTable`."""
    async with connection(pool, timeout) as conn:
        with database_away_named():
            return await upkeep_store.plain_tokens(conn, table, columns)


async def adopt(tokens: Tokens, plain: Plain, clock: Clock) -> bool:
    """Takes in a token of an older app; False where the shop is known already, which is never overwritten."""
    at = clock.now() - UNINSTALLS_TRAVEL
    async with tokens.turns.turn(plain.shop) as turn:
        if await store.install(turn.conn, plain.shop) is not None:
            return False
        install, scopes = Install(1, at, at), str(Scopes.parse(plain.scopes))
        await store.keep_install(turn.conn, plain.shop, install)
        await store.keep_scopes(turn.conn, plain.shop, scopes, at)
        await store.keep_session(turn.conn, _adopted(tokens.vault, plain, install, clock))
        await turn.emit([installed(plain.shop, install, scopes)])
    return True


def _adopted(vault: Vault, plain: Plain, install: Install, clock: Clock) -> Sealed:
    """One with a refresh token is renewed at its first use or by the next sweep; nobody knows when it ends."""
    now = clock.now()
    granted = Granted(plain.access_token, Scopes.parse(plain.scopes), now, plain.refresh_token, now + _SOON)
    made = vault.seal(plain.shop, granted, generation=install.generation, at=install.granted_at)
    made = replace(made, secret_id=None)
    return made if plain.refresh_token else replace(made, expires_at=None, refresh_expires_at=None)
