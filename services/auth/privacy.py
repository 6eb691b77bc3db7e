"""What auth knows that nobody else does when a shop is to be erased: whether it has installed the app again.

Shopify asks 48 hours after an uninstall, and may do so although the shop is back by then (SHOPIFY 4.5).
"""

from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from libs.common.contracts.privacy import Subject
from libs.common.db import Connection, connection
from libs.common.runtime.outcomes import Later
from services.auth import store
from services.auth.installs import Install
from services.auth.refusals import TryLater
from services.auth.service import Auth

UNINSTALL_TO_REQUEST = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Reinstalls:
    """Objects to the erasure of a shop that has the app."""

    auth: Auth
    pool: asyncpg.Pool
    timeout: float

    async def find_out(self, subject: Subject) -> None:
        """An install of before the uninstall must have ended unnoticed, unless Shopify still takes its tokens."""
        async with connection(self.pool, self.timeout) as conn:
            known = await store.install(conn, subject.shop)
        if known is None or not known.alive or known.granted_at > subject.before - UNINSTALL_TO_REQUEST:
            return
        try:
            verdict = await self.auth.verdict(subject.shop, known.granted_at)
            if verdict.alive:
                return
            async with connection(self.pool, self.timeout) as conn, conn.transaction():
                await self.auth.end(conn, subject.shop, known.granted_at, verdict)
        except TryLater as error:
            raise Later(error.seconds, str(error)) from error

    async def object(self, conn: Connection, subject: Subject) -> str | None:
        """Why the shop is not to be erased; nobody installs it for as long as the transaction lasts."""
        await store.lock(conn, subject.shop, seconds=self.timeout * 5)
        known = await store.install(conn, subject.shop)
        if known is not None and known.alive:
            return _installed(known)
        await store.forget_cached(conn, subject.shop)
        return None


def _installed(known: Install) -> str:
    since = known.installed_at.strftime("%Y-%m-%d %H:%M:%S")
    return f"the app is installed, since {since} UTC, which is later than the uninstall that the request belongs to"
