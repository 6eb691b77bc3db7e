"""A new client secret: every token becomes one of it, since Shopify ends the others when the old secret is revoked.

Which secret made a token stands in its row, so this goes on where it was broken off, and hourly renewals help.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from libs.common.db import connection, database_away_named
from libs.common.shopify.token_answers import Grant, Unsettled
from libs.common.token_box import CannotOpen
from services.auth import sessions_store, store, upkeep
from services.auth.refusals import TryLater
from services.auth.tokens import Tokens
from services.auth.vault import offline_id

BATCH = 500
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Again:
    """Nobody knows yet: the same is to be done again, after so many seconds."""

    why: str
    seconds: float


async def shops_left(pool: asyncpg.Pool, tokens: Tokens, timeout: float) -> AsyncIterator[str]:
    """Shops whose token was not made with the client secret of today."""
    after = ""
    while True:
        async with connection(pool, timeout) as conn:
            with database_away_named():
                shops = await sessions_store.of_other_secrets(conn, tokens.app.secret_id, after, BATCH)
        for shop in shops:
            yield shop
        if len(shops) < BATCH:
            return
        after = shops[-1]


async def refresh(tokens: Tokens, shop: str) -> str | Again | None:
    """Renews a shop's token unless that was done meanwhile; returns in words why not, or None."""
    try:
        async with tokens.turns.turn(shop) as turn:
            held = await store.session(turn.conn, offline_id(shop))
            if held is None or held.refused_at is not None or held.secret_id == tokens.app.secret_id:
                return None
            shown = tokens.vault.refresh_token(held)
            if shown is None:
                return "it has a token without expiry, which `shopbus tokens migrate` turns into another one"
            outcome = await tokens.ask(turn, Grant.REFRESH, shop, tokens.app.refresh(shown), tries=2)
            if isinstance(outcome, Unsettled):
                return Again(f"Shopify: {outcome.reason}", outcome.retry_after or _AGAIN_SECONDS)
            return await upkeep.kept(tokens, turn, held, outcome)
    except TryLater as error:
        return Again(str(error), error.seconds)
    except CannotOpen as error:
        return str(error)


async def end_online(pool: asyncpg.Pool, tokens: Tokens, timeout: float) -> int:
    """Ends the online sessions of other secrets, which nobody can renew: the next page load makes new ones."""
    total, ended = 0, BATCH
    while ended == BATCH:
        async with connection(pool, timeout) as conn:
            with database_away_named():
                ended = await sessions_store.end_online_of_other_secrets(conn, tokens.app.secret_id, BATCH)
        total += ended
    return total
