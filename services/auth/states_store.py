"""SQL of installs under way. Each is a row until it is finished or forgotten, so the rows also are what is bounded."""

from dataclasses import dataclass
from datetime import datetime

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Begun:
    """An install that is to begin."""

    mark: bytes
    shop: str
    sender: bytes
    launched: bool  # by a request that Shopify signed
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Most:
    """How many may be under way at once."""

    for_shop: int  # of those that anybody could have begun
    from_sender: int


# Two at the very same moment do not see each other: a bound may be passed by as many as Postgres works on at once.
KEEP = """
INSERT INTO auth.states (mark, shop, sender, launched, expires_at)
SELECT $1, $2, $3, $4, $5
WHERE ($4 OR $7 > (SELECT count(*) FROM (
          SELECT FROM auth.states WHERE shop = $2 AND NOT launched AND expires_at > $6 LIMIT $7) AS s))
  AND $8 > (SELECT count(*) FROM (SELECT FROM auth.states WHERE sender = $3 AND expires_at > $6 LIMIT $8) AS a)
"""


async def keep(conn: Connection, begun: Begun, most: Most, now: datetime) -> bool:
    """Writes down that an install has begun, unless too many have."""
    status: str = await conn.execute(
        KEEP, begun.mark, begun.shop, begun.sender, begun.launched, begun.expires_at, now,
        most.for_shop, most.from_sender,
    )  # fmt: skip
    return status == "INSERT 0 1"


FULL = """
SELECT
    (SELECT min(expires_at) FROM auth.states WHERE shop = $1 AND NOT launched AND expires_at > $4
     HAVING NOT $3 AND count(*) >= $5) AS shop,
    (SELECT min(expires_at) FROM auth.states WHERE sender = $2 AND expires_at > $4
     HAVING count(*) >= $6) AS sender
"""


async def full_until(conn: Connection, begun: Begun, most: Most, now: datetime) -> dict[str, datetime | None]:
    """Until when there is no room for an install: for its shop, and from its sender; None where there is."""
    row = await conn.fetchrow(
        FULL, begun.shop, begun.sender, begun.launched, now, most.for_shop, most.from_sender
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM has its row
    return dict(row)


TAKE = "DELETE FROM auth.states WHERE mark = $1 RETURNING shop, expires_at"


async def take(conn: Connection, mark: bytes, now: datetime) -> str | None:
    """The shop whose install began with this state, once only; None where it is unknown, used, or too old."""
    row = await conn.fetchrow(TAKE, mark)
    return row["shop"] if row and row["expires_at"] > now else None


FORGET = """
DELETE FROM auth.states WHERE mark = ANY (ARRAY(
    SELECT mark FROM auth.states WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""


async def forget(conn: Connection, now: datetime, limit: int) -> int:
    """Deletes states of installs that nobody finished; returns how many."""
    status: str = await conn.execute(FORGET, now, limit)
    return int(status.rpartition(" ")[2])
