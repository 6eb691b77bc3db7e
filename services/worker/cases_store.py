"""SQL of privacy cases."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.common.db import Connection

OPEN = """
INSERT INTO worker.privacy_cases
    (id, kind, status, shop, shop_mark, subject_mark, subject, request_id, message_source, requested_at, opened_at,
     due_at)
VALUES ($1, $2, 'open', $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""
STEPS = """
INSERT INTO worker.privacy_steps (case_id, service, place)
SELECT $1, service, place FROM unnest($2::text[]) WITH ORDINALITY AS s(service, place)
"""


async def open_case(conn: Connection, case: dict[str, Any], services: Sequence[str]) -> bool:
    """Begins a case with a step for each of these services; False if it was begun before."""
    names = (
        *("id", "kind", "shop", "shop_mark", "subject_mark", "subject", "request_id", "message_source"),
        *("requested_at", "opened_at", "due_at"),
    )
    if await conn.fetchval(OPEN, *(case[name] for name in names)) is None:
        return False
    await conn.execute(STEPS, case["id"], list(services))
    return True


CLIENTS = """
SELECT occurred_at, event_id, CASE WHEN client_id IS NOT NULL AND content::text ~* $2 THEN client_id END AS client_id
FROM worker.pixel_events WHERE shop = $1 AND (occurred_at, event_id) > ($3, $4)
ORDER BY occurred_at, event_id LIMIT $5
"""


async def clients(
    conn: Connection, shop: str, pattern: str, *, after: tuple[datetime, str], limit: int, timeout: float
) -> list[asyncpg.Record]:
    """The shop's next pixel events, with the browsers of those that name a person."""
    return await conn.fetch(CLIENTS, shop, pattern, *after, limit, timeout=timeout)


_COLUMNS = """
SELECT id, kind, status, shop, shop_mark, subject_mark, subject, request_id, message_source, requested_at, opened_at,
       due_at, ready_at, ended_at, reason, repeats, receipt
FROM worker.privacy_cases
"""
CASE = _COLUMNS + "WHERE id = $1"
LOCKED = CASE + " FOR UPDATE"


async def case(conn: Connection, identifier: UUID, *, locked: bool = False) -> asyncpg.Record | None:
    """One case."""
    return await conn.fetchrow(LOCKED if locked else CASE, identifier)


STEPS_OF = """
SELECT case_id, service, asked_at, answered_at, rows, found FROM worker.privacy_steps
WHERE case_id = ANY ($1) ORDER BY case_id, place
"""


async def steps(conn: Connection, cases: Sequence[UUID]) -> list[asyncpg.Record]:
    """The steps of these cases, in their order."""
    return await conn.fetch(STEPS_OF, list(cases))


ASKED = "UPDATE worker.privacy_steps SET asked_at = $3 WHERE case_id = $1 AND service = $2"


async def asked(conn: Connection, identifier: UUID, service: str, at: datetime) -> None:
    """A service is asked now."""
    await conn.execute(ASKED, identifier, service, at)


ANSWERED = """
UPDATE worker.privacy_steps SET answered_at = $3, rows = $4, found = $5
WHERE case_id = $1 AND service = $2 AND answered_at IS NULL
RETURNING service
"""


async def answered(
    conn: Connection, identifier: UUID, service: str, at: datetime, rows: dict[str, int], found: int
) -> bool:
    """Keeps a service's answer; False if it had answered before."""
    row = await conn.fetchval(ANSWERED, identifier, service, at, orjson.dumps(rows).decode(), found)
    return row is not None


KEEP_SUBJECT = "UPDATE worker.privacy_cases SET subject = $2 WHERE id = $1"


async def keep_subject(conn: Connection, identifier: UUID, subject: str) -> None:
    """More is known of whom the case is about."""
    await conn.execute(KEEP_SUBJECT, identifier, subject)


KEEP_PART = """
INSERT INTO worker.privacy_items (case_id, service, part, content) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
PARTS = "SELECT count(*) FROM worker.privacy_items WHERE case_id = $1 AND service = $2"


async def keep_part(conn: Connection, identifier: UUID, service: str, part: int, content: bytes) -> int:
    """Keeps a part of what a service found; returns how many there are of it now."""
    await conn.execute(KEEP_PART, identifier, service, part, content)
    number: int = await conn.fetchval(PARTS, identifier, service)
    return number


ITEMS = "SELECT content FROM worker.privacy_items WHERE case_id = $1 ORDER BY service, part"


async def items(conn: Connection, identifier: UUID) -> list[bytes]:
    """All parts of what was found."""
    return [row["content"] for row in await conn.fetch(ITEMS, identifier)]


LOCK_SUBJECT = "SELECT pg_advisory_xact_lock(hashtextextended('shopbus privacy ' || encode($1, 'hex'), 0))"
EARLIER = """
SELECT id, receipt FROM worker.privacy_cases
WHERE subject_mark = $1 AND kind = $2 AND status = 'done' AND repeats IS NULL AND id <> $3
ORDER BY ended_at DESC LIMIT 1
"""


async def earlier(conn: Connection, subject_mark: bytes, kind: str, but: UUID) -> asyncpg.Record | None:
    """The latest case of the same kind and subject that has a receipt of its own; others wait for us to commit."""
    await conn.execute(LOCK_SUBJECT, subject_mark)
    return await conn.fetchrow(EARLIER, subject_mark, kind, but)


END = """
UPDATE worker.privacy_cases
SET status = $2, ready_at = CASE WHEN $2 = 'ready' THEN $3 ELSE ready_at END,
    ended_at = CASE WHEN $2 <> 'ready' THEN $3 END, reason = $4, repeats = $5, receipt = $6,
    subject = CASE WHEN $2 = 'ready' THEN subject END
WHERE id = $1
"""


async def end(
    conn: Connection, identifier: UUID, status: str, at: datetime, *,
    reason: str | None = None, repeats: UUID | None = None, receipt: str | None = None,
) -> None:  # fmt: skip
    """The case is over, or its data is ready to be given."""
    await conn.execute(END, identifier, status, at, reason, repeats, receipt)


FORGET_SHOP = """
UPDATE worker.privacy_cases SET shop = NULL, subject = NULL
WHERE shop_mark = $1 AND (ended_at IS NOT NULL OR id = $2)
"""


async def forget_shop(conn: Connection, shop_mark: bytes, identifier: UUID) -> None:
    """Nothing but marks is left of the shop's cases."""
    await conn.execute(FORGET_SHOP, shop_mark, identifier)


DELIVER = """
UPDATE worker.privacy_cases SET status = 'done', ended_at = coalesce(ended_at, $2)
WHERE id = $1 AND status = 'ready'
"""


async def deliver(conn: Connection, identifier: UUID, at: datetime) -> bool:
    """The data has been given; False if it had been before."""
    return bool(await conn.execute(DELIVER, identifier, at) != "UPDATE 0")


LIST = (
    _COLUMNS
    + """
WHERE id < $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
  AND ($4::text IS NULL OR shop = $4)
ORDER BY id DESC LIMIT $5
"""
)


async def page(
    conn: Connection, before: UUID, kind: str | None, status: str | None, shop: str | None, limit: int
) -> list[asyncpg.Record]:
    """Cases, the newest first."""
    return await conn.fetch(LIST, before, kind, status, shop, limit)


GAUGES = """
SELECT kind, count(*) AS open, greatest(extract(epoch FROM now() - min(requested_at)), 0)::float8 AS oldest
FROM worker.privacy_cases WHERE ended_at IS NULL GROUP BY kind
"""


async def gauges(conn: Connection) -> dict[str, tuple[int, float]]:
    """By kind how many cases are open, and the age of the oldest in seconds."""
    return {row["kind"]: (row["open"], row["oldest"]) for row in await conn.fetch(GAUGES)}


PURGE_ITEMS = """
DELETE FROM worker.privacy_items WHERE case_id IN (
    SELECT id FROM worker.privacy_cases WHERE kind = 'data_request' AND ended_at < now() - make_interval(days => $1))
"""
PURGE_SUBJECTS = """
UPDATE worker.privacy_cases SET subject = NULL
WHERE kind = 'data_request' AND subject IS NOT NULL AND ended_at < now() - make_interval(days => $1)
"""


async def purge(conn: Connection, days: int) -> None:
    """Deletes what was found for data requests once it has been given so many days ago."""
    await conn.execute(PURGE_ITEMS, days)
    await conn.execute(PURGE_SUBJECTS, days)
