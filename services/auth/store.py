"""SQL of services/auth beyond the outbox protocol: shops and sessions."""

from dataclasses import dataclass
from datetime import datetime

from libs.common.db import Connection
from services.auth.installs import Install

CHANNEL = "shopbus_tokens"
"""Where every process hears of shops whose tokens it must not use any more."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A session as its row is, tokens sealed."""

    id: str
    shop: str
    user_id: int | None
    generation: int
    scopes: str
    key_id: str
    access_token: bytes
    refresh_token: bytes | None
    expires_at: datetime | None
    refresh_expires_at: datetime | None
    granted_at: datetime
    renewed_at: datetime
    refused_at: datetime | None = None
    version: int = 0  # given by the table
    secret_id: str | None = None  # of the client secret that it was made with; None where nobody knows


NEEDED = tuple(
    f"auth.{table}"
    for table in ("messages", "outbox", "scheduled", "failed", "history", "shops", "sessions", "states")
)
"""What the service cannot do without."""

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('shopbus shop ' || $1, 0))"


async def lock(conn: Connection, shop: str, *, seconds: float) -> None:
    """Waits until no other transaction anywhere gets or ends tokens of this shop; held until the transaction ends."""
    await conn.execute(LOCK, shop, timeout=seconds)


FORGET_CACHED = "SELECT pg_notify($1, $2)"


async def forget_cached(conn: Connection, shop: str) -> None:
    """Tells every process, with the commit, that tokens of this shop it keeps in memory are old."""
    await conn.execute(FORGET_CACHED, CHANNEL, shop)


INSTALL = """
SELECT generation, installed_at, granted_at, uninstalled_at, scopes, scopes_at FROM auth.shops WHERE shop = $1
"""


async def install(conn: Connection, shop: str) -> Install | None:
    """What is known of a shop's latest install."""
    row = await conn.fetchrow(INSTALL, shop)
    if row is None:
        return None
    return Install(row["generation"], row["installed_at"], row["granted_at"], row["uninstalled_at"])


KEEP_INSTALL = """
INSERT INTO auth.shops (shop, generation, installed_at, granted_at, uninstalled_at, scopes, scopes_at)
VALUES ($1, $2, $3, $4, $5, '', 'epoch')
ON CONFLICT (shop) DO UPDATE SET generation = excluded.generation, installed_at = excluded.installed_at,
    granted_at = excluded.granted_at, uninstalled_at = excluded.uninstalled_at
"""


async def keep_install(conn: Connection, shop: str, known: Install) -> None:
    """Writes down an install; the caller holds the shop's lock."""
    await conn.execute(
        KEEP_INSTALL, shop, known.generation, known.installed_at, known.granted_at, known.uninstalled_at
    )


KEEP_SCOPES = """
UPDATE auth.shops AS s SET scopes = $2, scopes_at = $3 FROM auth.shops AS before
WHERE s.shop = $1 AND before.shop = $1 AND s.scopes_at <= $3
RETURNING before.scopes
"""


async def keep_scopes(conn: Connection, shop: str, scopes: str, at: datetime) -> str | None:
    """Writes down what is granted as of a moment, unless something later is known; returns what was before."""
    before: str | None = await conn.fetchval(KEEP_SCOPES, shop, scopes, at)
    return before


RESCOPE_SESSION = "UPDATE auth.sessions SET scopes = $2 WHERE id = $1 AND granted_at <= $3"


async def rescope_session(conn: Connection, session_id: str, scopes: str, at: datetime) -> None:
    """The session's token now allows this, unless it was granted later."""
    await conn.execute(RESCOPE_SESSION, session_id, scopes, at)


SCOPES = "SELECT scopes FROM auth.shops WHERE shop = $1"


async def scopes(conn: Connection, shop: str) -> str | None:
    """What the shop has granted; None where it is unknown."""
    found: str | None = await conn.fetchval(SCOPES, shop)
    return found


_SESSION = """
SELECT id, shop, user_id, generation, scopes, key_id, access_token, refresh_token, expires_at, refresh_expires_at,
       granted_at, renewed_at, refused_at, version, secret_id
FROM auth.sessions
"""
SESSION = _SESSION + "WHERE id = $1"


async def session(conn: Connection, session_id: str) -> Sealed | None:
    """One session."""
    row = await conn.fetchrow(SESSION, session_id)
    return Sealed(**row) if row else None


# Every column is written, NULLs too: what a grant does not have must not stay from the one before.
KEEP_SESSION = """
INSERT INTO auth.sessions AS s (id, shop, user_id, generation, scopes, key_id, access_token, refresh_token, expires_at,
                                refresh_expires_at, granted_at, renewed_at, refused_at, secret_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL, $13)
ON CONFLICT (id) DO UPDATE SET
    generation = excluded.generation, scopes = excluded.scopes, key_id = excluded.key_id,
    access_token = excluded.access_token, refresh_token = excluded.refresh_token, expires_at = excluded.expires_at,
    refresh_expires_at = excluded.refresh_expires_at, granted_at = excluded.granted_at,
    renewed_at = excluded.renewed_at, secret_id = excluded.secret_id, refused_at = NULL,
    version = nextval('auth.token_version')
RETURNING version
"""


async def keep_session(conn: Connection, made: Sealed) -> int:
    """Writes down a session that was just granted, in place of the one before; returns its version."""
    version: int = await conn.fetchval(
        KEEP_SESSION, made.id, made.shop, made.user_id, made.generation, made.scopes, made.key_id, made.access_token,
        made.refresh_token, made.expires_at, made.refresh_expires_at, made.granted_at, made.renewed_at, made.secret_id,
    )  # fmt: skip
    return version


# Both tokens change together, and only if they are still the ones that were shown to Shopify.
SWAP_TOKENS = """
UPDATE auth.sessions SET version = nextval('auth.token_version'), scopes = $3, key_id = $4, access_token = $5,
    refresh_token = $6, expires_at = $7, refresh_expires_at = $8, renewed_at = $9, secret_id = $10, refused_at = NULL
WHERE id = $1 AND version = $2
RETURNING version
"""


async def swap_tokens(conn: Connection, shown: int, made: Sealed) -> int | None:
    """Puts a renewed pair in place of the version that was shown; None where that is not there any more."""
    version: int | None = await conn.fetchval(
        SWAP_TOKENS, made.id, shown, made.scopes, made.key_id, made.access_token, made.refresh_token, made.expires_at,
        made.refresh_expires_at, made.renewed_at, made.secret_id,
    )  # fmt: skip
    return version


MARK_REFUSED = """
UPDATE auth.sessions SET refused_at = coalesce(refused_at, $3), expires_at = CASE WHEN $4 THEN $3 ELSE expires_at END
WHERE id = $1 AND version = $2
"""


async def mark_refused(conn: Connection, session_id: str, version: int, at: datetime, *, over: bool) -> None:
    """Shopify will never take this session's refresh token again; where it is `over`, nor its access token."""
    await conn.execute(MARK_REFUSED, session_id, version, at, over)


END_SESSIONS = "DELETE FROM auth.sessions WHERE shop = $1 AND granted_at <= $2"


async def end_sessions(conn: Connection, shop: str, until: datetime) -> int:
    """Deletes a shop's sessions that were granted up to a moment; returns how many."""
    return _count(await conn.execute(END_SESSIONS, shop, until))


COUNT_UP_SESSIONS = "UPDATE auth.sessions SET generation = $2 WHERE shop = $1 AND generation < $2"


async def count_up_sessions(conn: Connection, shop: str, generation: int) -> None:
    """A shop's sessions turn out to be of this generation."""
    await conn.execute(COUNT_UP_SESSIONS, shop, generation)


END_SESSION = "DELETE FROM auth.sessions WHERE id = $1 RETURNING shop"


async def end_session(conn: Connection, session_id: str) -> str | None:
    """Deletes one session; returns whose it was."""
    shop: str | None = await conn.fetchval(END_SESSION, session_id)
    return shop


FORGET_ONLINE = """
DELETE FROM auth.sessions WHERE id = ANY (ARRAY(
    SELECT id FROM auth.sessions WHERE user_id IS NOT NULL AND expires_at < $1
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""


async def forget_online(conn: Connection, now: datetime, limit: int) -> int:
    """Deletes online sessions whose time is over; returns how many."""
    return _count(await conn.execute(FORGET_ONLINE, now, limit))


IDLE = """
SELECT shop FROM auth.sessions WHERE refused_at IS NULL AND user_id IS NULL AND refresh_expires_at < $1
ORDER BY refresh_expires_at LIMIT $2
"""


async def idle(conn: Connection, before: datetime, limit: int) -> list[str]:
    """Shops whose refresh token would end before a moment, the most urgent first."""
    return [row["shop"] for row in await conn.fetch(IDLE, before, limit)]


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
