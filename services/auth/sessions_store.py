"""SQL over many sessions: lists, counts, sealing anew. None of it reads a token but what seals it anew."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from libs.common.db import Connection
from services.auth.store import Sealed

_SHOWN = """
SELECT id, shop, user_id, generation, version, scopes, key_id, expires_at, refresh_expires_at, granted_at, renewed_at,
       refused_at
FROM auth.sessions
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions are asked for; None is any."""

    shop: str | None = None
    online: bool | None = None


PAGE = (
    _SHOWN
    + """
WHERE id > $1 AND ($2::text IS NULL OR shop = $2) AND ($3::bool IS NULL OR (user_id IS NOT NULL) = $3)
ORDER BY id LIMIT $4
"""
)


async def page(conn: Connection, wanted: Filter, *, after: str, limit: int) -> list[asyncpg.Record]:
    """Sessions after an id, without their tokens."""
    return await conn.fetch(PAGE, after, wanted.shop, wanted.online, limit)


ONE = _SHOWN + "WHERE id = $1"


async def one(conn: Connection, session_id: str) -> asyncpg.Record | None:
    """One session without its tokens."""
    return await conn.fetchrow(ONE, session_id)


STATS = """
SELECT jsonb_build_object(
    'shops', (SELECT jsonb_build_object('installed', count(*) FILTER (WHERE uninstalled_at IS NULL),
                                        'uninstalled', count(*) FILTER (WHERE uninstalled_at IS NOT NULL))
              FROM auth.shops),
    'offline', jsonb_build_object(
        'live', count(*) FILTER (WHERE user_id IS NULL AND refused_at IS NULL AND coalesce(
            greatest(expires_at, refresh_expires_at) > $1, true)),
        'expired', count(*) FILTER (WHERE user_id IS NULL AND refused_at IS NULL AND
            greatest(expires_at, refresh_expires_at) <= $1),
        'refused', count(*) FILTER (WHERE user_id IS NULL AND refused_at IS NOT NULL),
        'without_expiry', count(*) FILTER (WHERE user_id IS NULL AND expires_at IS NULL)),
    'online', jsonb_build_object(
        'live', count(*) FILTER (WHERE user_id IS NOT NULL AND expires_at > $1),
        'expired', count(*) FILTER (WHERE user_id IS NOT NULL AND expires_at <= $1)),
    'keys', (SELECT coalesce(jsonb_object_agg(key_id, sessions), '{}')
             FROM (SELECT key_id, count(*) AS sessions FROM auth.sessions GROUP BY key_id) AS k),
    'secrets', (SELECT coalesce(jsonb_object_agg(coalesce(secret_id, 'unknown'), sessions), '{}')
                FROM (SELECT secret_id, count(*) AS sessions FROM auth.sessions WHERE refused_at IS NULL
                      GROUP BY secret_id) AS s)
)::text
FROM auth.sessions
"""


async def stats(conn: Connection, now: datetime) -> dict[str, Any]:
    """Shops and sessions, counted."""
    found: dict[str, Any] = orjson.loads(await conn.fetchval(STATS, now))
    return found


OTHER_KEYS = "SELECT count(*) FROM auth.sessions WHERE key_id <> $1"


async def under_other_keys(conn: Connection, key_id: str) -> int:
    """How many sessions another key sealed."""
    number: int = await conn.fetchval(OTHER_KEYS, key_id)
    return number


TAKE_TO_RESEAL = """
SELECT id, shop, user_id, generation, scopes, key_id, access_token, refresh_token, expires_at, refresh_expires_at,
       granted_at, renewed_at, refused_at, version, secret_id
FROM auth.sessions WHERE key_id <> $1 AND id > $2 ORDER BY id LIMIT $3 FOR UPDATE
"""


async def take_to_reseal(conn: Connection, key_id: str, after: str, limit: int) -> list[Sealed]:
    """Sessions that another key sealed, locked until the transaction ends."""
    return [Sealed(**row) for row in await conn.fetch(TAKE_TO_RESEAL, key_id, after, limit)]


RESEAL = """
UPDATE auth.sessions AS s SET key_id = $1, access_token = n.access_token, refresh_token = n.refresh_token
FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS n(id, access_token, refresh_token) WHERE s.id = n.id
"""


async def reseal(conn: Connection, key_id: str, sealed: list[Sealed]) -> None:
    """Writes the same tokens under another key; their versions stay."""
    await conn.execute(
        RESEAL, key_id, [one.id for one in sealed], [one.access_token for one in sealed],
        [one.refresh_token for one in sealed],
    )  # fmt: skip


WITHOUT_EXPIRY = """
SELECT shop FROM auth.sessions WHERE user_id IS NULL AND expires_at IS NULL AND refused_at IS NULL AND shop > $1
ORDER BY shop LIMIT $2
"""


async def without_expiry(conn: Connection, after: str, limit: int) -> list[str]:
    """Shops whose token has no expiry, by name."""
    return [row["shop"] for row in await conn.fetch(WITHOUT_EXPIRY, after, limit)]


COUNT_WITHOUT_EXPIRY = """
SELECT count(*) FROM auth.sessions WHERE user_id IS NULL AND expires_at IS NULL AND refused_at IS NULL
"""


async def count_without_expiry(conn: Connection) -> int:
    """How many shops have a token without expiry that still works."""
    number: int = await conn.fetchval(COUNT_WITHOUT_EXPIRY)
    return number


OF_OTHER_SECRETS = """
SELECT shop FROM auth.sessions
WHERE user_id IS NULL AND refused_at IS NULL AND secret_id IS DISTINCT FROM $1 AND shop > $2 ORDER BY shop LIMIT $3
"""


async def of_other_secrets(conn: Connection, secret_id: str, after: str, limit: int) -> list[str]:
    """Shops whose token another client secret made, or nobody knows which, by name."""
    return [row["shop"] for row in await conn.fetch(OF_OTHER_SECRETS, secret_id, after, limit)]


END_ONLINE_OF_OTHER_SECRETS = """
DELETE FROM auth.sessions WHERE id = ANY (ARRAY(
    SELECT id FROM auth.sessions WHERE user_id IS NOT NULL AND secret_id IS DISTINCT FROM $1
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))
"""


async def end_online_of_other_secrets(conn: Connection, secret_id: str, limit: int) -> int:
    """Deletes online sessions that cannot be renewed and will die with their secret; returns how many."""
    status: str = await conn.execute(END_ONLINE_OF_OTHER_SECRETS, secret_id, limit)
    return int(status.rpartition(" ")[2])
