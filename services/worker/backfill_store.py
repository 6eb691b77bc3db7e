"""SQL of backfills. What changes one names its holder and the status it was taken with, and finds nothing otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from libs.common.db import Connection


@dataclass(frozen=True, slots=True)
class Backfill:
    """A job as its row says; migrations/0007_backfill.sql explains each."""

    id: UUID
    shop: str
    resource: str
    since: datetime
    status: str
    reason: str | None
    attempt: int
    asked_at: datetime | None
    operation: str | None
    snapshot_at: datetime | None
    file_lines: int
    position: int
    lines: int
    accepted: int
    repeated: int
    withheld: int
    failures: int
    stalled_at: datetime | None
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    holder: str | None


ACTIVE = ("waiting", "running", "reading", "cancelling")
ENDED = ("completed", "failed", "cancelled")

_COLUMNS = """
SELECT id, shop, resource, since, status, reason, attempt, asked_at, operation, snapshot_at, file_lines, position,
       lines, accepted, repeated, withheld, failures, stalled_at, created_at, due_at, ended_at, holder
FROM worker.backfills
"""

ADD = """
INSERT INTO worker.backfills (id, shop, resource, since, status) VALUES ($1, $2, $3, $4, 'waiting')
ON CONFLICT (shop, resource) WHERE ended_at IS NULL DO NOTHING
RETURNING id
"""
OPEN = "SELECT id FROM worker.backfills WHERE shop = $1 AND resource = $2 AND ended_at IS NULL"


async def add(conn: Connection, identifier: UUID, shop: str, resource: str, since: datetime) -> bool:
    """Begins a job; False where one of this shop and resource is open."""
    return await conn.fetchval(ADD, identifier, shop, resource, since) is not None


async def open_one(conn: Connection, shop: str, resource: str) -> UUID | None:
    """The open job of a shop and resource."""
    found: UUID | None = await conn.fetchval(OPEN, shop, resource)
    return found


ONE = _COLUMNS + "WHERE id = $1"
PAGE = (
    _COLUMNS
    + """
WHERE id < $1 AND ($3::text IS NULL OR shop = $3) AND ($4::text IS NULL OR resource = $4)
  AND ($5::text IS NULL OR status = $5)
ORDER BY id DESC LIMIT $2
"""
)


async def one(conn: Connection, identifier: UUID) -> Backfill | None:
    """One job."""
    row = await conn.fetchrow(ONE, identifier)
    return None if row is None else Backfill(**row)


async def page(
    conn: Connection, before: UUID, limit: int, *, shop: str | None, resource: str | None, status: str | None
) -> list[Backfill]:
    """Jobs that match, newest first."""
    return [Backfill(**row) for row in await conn.fetch(PAGE, before, limit, shop, resource, status)]


CANCEL = """
UPDATE worker.backfills SET status = 'cancelling', reason = $2, due_at = now(), failures = 0, moved_at = now()
WHERE id = $1 AND ended_at IS NULL AND status <> 'cancelling'
"""


async def cancel(conn: Connection, identifier: UUID, reason: str) -> None:
    """Asks whoever holds an open job to end it."""
    await conn.execute(CANCEL, identifier, reason)


CANCEL_SHOP = """
UPDATE worker.backfills SET status = 'cancelling', reason = $3, due_at = now(), failures = 0, moved_at = now()
WHERE shop = $1 AND created_at <= $2 AND ended_at IS NULL AND status <> 'cancelling'
"""


async def cancel_shop(conn: Connection, shop: str, uninstalled_at: datetime, reason: str) -> None:
    """The same for all that were asked for by an install that is over; what a fresh one asked for stays."""
    await conn.execute(CANCEL_SHOP, shop, uninstalled_at, reason)


CLAIM = """
UPDATE worker.backfills SET holder = $1, leased_until = now() + $2
WHERE id = (
    SELECT id FROM worker.backfills
    WHERE ended_at IS NULL AND due_at <= now() AND (leased_until IS NULL OR leased_until < now())
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id
"""
RENEW = """
UPDATE worker.backfills SET leased_until = now() + $4 WHERE id = $1 AND holder = $2 AND status = $3 RETURNING id
"""
RELEASE = "UPDATE worker.backfills SET holder = NULL, leased_until = NULL WHERE id = $1 AND holder = $2"


async def claim(conn: Connection, holder: str, lease_seconds: float) -> Backfill | None:
    """The job that has waited longest for its next step, held for a while."""
    identifier = await conn.fetchval(CLAIM, holder, timedelta(seconds=lease_seconds))
    return None if identifier is None else await one(conn, identifier)


async def renew(conn: Connection, held: Backfill, lease_seconds: float) -> bool:
    """Holds it for longer; False where somebody else does, or where it is to be ended."""
    lease = timedelta(seconds=lease_seconds)
    return await conn.fetchval(RENEW, held.id, held.holder, held.status, lease) is not None


async def release(conn: Connection, held: Backfill) -> None:
    """Lets the next one have it at once."""
    await conn.execute(RELEASE, held.id, held.holder)


ASK = """
UPDATE worker.backfills SET asked_at = now() WHERE id = $1 AND holder = $2 AND status = $3 RETURNING asked_at
"""
UNASK = """
UPDATE worker.backfills SET asked_at = NULL, reason = $4, due_at = now() + $5, stalled_at = NULL
WHERE id = $1 AND holder = $2 AND status = $3
"""
BEGIN = """
UPDATE worker.backfills
SET status = 'running', operation = $4, snapshot_at = $5, reason = NULL, failures = 0, due_at = now() + $6,
    stalled_at = NULL, moved_at = now()
WHERE id = $1 AND holder = $2 AND status = $3
"""
WATCH = """
UPDATE worker.backfills
SET moved_at = CASE WHEN file_lines < $4 THEN now() ELSE moved_at END, file_lines = $4, due_at = now() + $5,
    reason = NULL, failures = 0, stalled_at = NULL
WHERE id = $1 AND holder = $2 AND status = $3
"""
READ = """
UPDATE worker.backfills
SET status = 'reading', file_lines = $4, reason = NULL, failures = 0, due_at = now(), stalled_at = NULL,
    moved_at = now()
WHERE id = $1 AND holder = $2 AND status = $3
"""
WAIT = """
UPDATE worker.backfills
SET reason = $4, due_at = now() + $5, failures = $6, stalled_at = coalesce(stalled_at, now())
WHERE id = $1 AND holder = $2 AND status = $3
"""
STAND = """
UPDATE worker.backfills SET reason = $4, due_at = now() + $5, stalled_at = NULL
WHERE id = $1 AND holder = $2 AND status = $3
"""
AGAIN = """
UPDATE worker.backfills
SET status = 'waiting', reason = $4, due_at = now() + $5, attempt = attempt + 1, asked_at = NULL, operation = NULL,
    snapshot_at = NULL, file_lines = 0, position = 0, lines = 0, failures = 0, stalled_at = NULL
WHERE id = $1 AND holder = $2 AND status = $3
"""
END = """
UPDATE worker.backfills SET status = $4, reason = $5, ended_at = now(), failures = 0
WHERE id = $1 AND holder = $2 AND status = $3 RETURNING id
"""


async def ask(conn: Connection, held: Backfill) -> datetime | None:
    """Notes that Shopify is about to be asked; None where the job is not ours any more."""
    at: datetime | None = await conn.fetchval(ASK, held.id, held.holder, held.status)
    return at


async def unask(conn: Connection, held: Backfill, reason: str, seconds: float) -> None:
    """Shopify has not begun, and is asked again after a while."""
    await conn.execute(UNASK, held.id, held.holder, held.status, reason, timedelta(seconds=seconds))


async def begin(conn: Connection, held: Backfill, operation: str, at: datetime, seconds: float) -> None:
    """Shopify works on it; it is looked at after a while."""
    wait = timedelta(seconds=seconds)
    await conn.execute(BEGIN, held.id, held.holder, held.status, operation, at, wait)


async def watch(conn: Connection, held: Backfill, lines: int, seconds: float) -> None:
    """Shopify has come so far."""
    await conn.execute(WATCH, held.id, held.holder, held.status, lines, timedelta(seconds=seconds))


async def read(conn: Connection, held: Backfill, lines: int) -> None:
    """There is a file of so many lines."""
    await conn.execute(READ, held.id, held.holder, held.status, lines)


async def wait(conn: Connection, held: Backfill, reason: str | None, seconds: float, failures: int) -> None:
    """The same step again after a while."""
    after = timedelta(seconds=seconds)
    await conn.execute(WAIT, held.id, held.holder, held.status, reason, after, failures)


async def stand(conn: Connection, held: Backfill, reason: str, seconds: float) -> None:
    """Our own handlers have to come further first."""
    await conn.execute(STAND, held.id, held.holder, held.status, reason, timedelta(seconds=seconds))


async def again(conn: Connection, held: Backfill, reason: str, seconds: float) -> None:
    """Another bulk operation from the beginning."""
    await conn.execute(AGAIN, held.id, held.holder, held.status, reason, timedelta(seconds=seconds))


async def end(conn: Connection, held: Backfill, status: str, reason: str | None) -> bool:
    """The job is over; False where it was not ours any more."""
    return await conn.fetchval(END, held.id, held.holder, held.status, status, reason) is not None


ADVANCE = """
UPDATE worker.backfills
SET position = $5, lines = lines + $6, accepted = accepted + $7, repeated = repeated + $8, withheld = withheld + $9,
    last_message = coalesce($10, last_message), failures = 0, reason = NULL, stalled_at = NULL, moved_at = now()
WHERE id = $1 AND holder = $2 AND status = $3 AND position = $4
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Advance:
    """From where to where a file was taken in, and what became of it."""

    start: int
    end: int
    lines: int
    accepted: int
    repeated: int
    withheld: int
    last: UUID | None  # the newest message


async def advance(conn: Connection, held: Backfill, step: Advance) -> bool:
    """Moves on in the file, in the transaction that accepts what was read; False where somebody else has."""
    found = await conn.fetchval(
        ADVANCE, held.id, held.holder, held.status, step.start, step.end, step.lines, step.accepted,
        step.repeated, step.withheld, step.last,
    )  # fmt: skip
    return found is not None


HINT_OPERATIONS = """
UPDATE worker.backfills SET due_at = now()
WHERE ended_at IS NULL AND status = 'running' AND operation = ANY ($1::text[]) AND due_at > now()
"""
HINT_SHOPS = """
UPDATE worker.backfills SET due_at = now()
WHERE ended_at IS NULL AND reason IS NOT NULL AND shop = ANY ($1::text[]) AND due_at > now()
"""


async def hint(conn: Connection, operations: Sequence[str], shops: Sequence[str]) -> None:
    """These operations have ended, and with these shops something has changed: their jobs are looked at now."""
    if operations:
        await conn.execute(HINT_OPERATIONS, list(operations))
    if shops:
        await conn.execute(HINT_SHOPS, list(shops))
