"""The sessions there are: listing, counting and ending them. Never a token."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from libs.common.clock import Clock
from libs.common.db import Connection, connection, database_away_named
from services.auth import sessions_store, store
from services.auth.sessions_store import Filter
from services.auth.turns import Turns
from services.auth.vault import offline_id, online_id

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of all shops."""

    pool: asyncpg.Pool
    turns: Turns
    clock: Clock
    timeout: float

    async def of(self, shop: str, user_id: int | None) -> Json:
        """The access of a shop, and of a member of its staff."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                known = await store.install(conn, shop)
                offline = await self._shown(conn, offline_id(shop))
                online = None if user_id is None else await self._shown(conn, online_id(shop, user_id))
        return {"installed": known is not None and known.alive, "offline": offline, "online": online}

    async def page(self, wanted: Filter, after: str, limit: int) -> list[Json]:
        """Sessions that match, by id."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                rows = await sessions_store.page(conn, wanted, after=after, limit=limit)
        return [self._form(row) for row in rows]

    async def show(self, session_id: str) -> Json | None:
        """One session; None where there is none."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await self._shown(conn, session_id)

    async def stats(self) -> Json:
        """How many shops and sessions there are, by what they are good for."""
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                return await sessions_store.stats(conn, self.clock.now())

    async def end_online(self, shop: str, user_id: int) -> bool:
        """Deletes the session of a member of staff; whether there was one."""
        return await self.end(online_id(shop, user_id), shop)

    async def end(self, session_id: str, shop: str) -> bool:
        """Deletes a session, in its shop's turn so that none that is being granted survives; whether there was one."""
        async with self.turns.turn(shop) as turn:
            ended = await store.end_session(turn.conn, session_id)
            if ended is not None:
                await store.forget_cached(turn.conn, shop)
        return ended is not None

    async def _shown(self, conn: Connection, session_id: str) -> Json | None:
        row = await sessions_store.one(conn, session_id)
        return None if row is None else self._form(row)

    def _form(self, row: asyncpg.Record) -> Json:
        return {**row, "kind": "offline" if row["user_id"] is None else "online", "state": self._state(row)}

    def _state(self, row: asyncpg.Record) -> str:
        ends: datetime | None = row["expires_at"]
        if row["refused_at"] is not None:
            return "refused"
        renewable = row["refresh_expires_at"] is not None and row["refresh_expires_at"] > self.clock.now()
        return "live" if ends is None or ends > self.clock.now() or renewable else "expired"
