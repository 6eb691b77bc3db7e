"""SQL that counts the messages of a backfill that wait for their handlers."""

from dataclasses import dataclass
from uuid import UUID

from libs.common.db import Connection

# A bounded number of rows is looked at: where there are more, only the newest message of the job is. The lane is read
# from an id on, so that rows deleted before it are not walked again. OFFSET 0 keeps each a look-up by primary key.
WAITING = """
WITH ready AS MATERIALIZED (
    SELECT id FROM worker.outbox WHERE destination = 'worker' AND lane = 'bulk' AND id >= $3 ORDER BY id LIMIT $2
), later AS MATERIALIZED (
    SELECT message_id AS id FROM worker.scheduled WHERE source = 'worker' ORDER BY due_at LIMIT $2
), newest AS MATERIALIZED (
    SELECT last_message AS id FROM worker.backfills WHERE id = $1
)
SELECT (
    SELECT count(*) FILTER (WHERE m.correlation_id = $1::uuid::text)
    FROM (SELECT id FROM ready UNION ALL SELECT id FROM later) AS w
    CROSS JOIN LATERAL (SELECT correlation_id FROM worker.messages WHERE id = w.id OFFSET 0) AS m
) AS number,
(SELECT count(*) FROM ready) >= $2 OR (SELECT count(*) FROM later) >= $2 AS crowded,
EXISTS (SELECT FROM newest CROSS JOIN LATERAL (
    SELECT FROM worker.outbox WHERE destination = 'worker' AND lane = 'bulk' AND id = newest.id OFFSET 0
) AS o) OR EXISTS (SELECT FROM newest CROSS JOIN LATERAL (
    SELECT FROM worker.scheduled WHERE source = 'worker' AND message_id = newest.id OFFSET 0
) AS s) AS newest_waits,
(SELECT id FROM ready ORDER BY id LIMIT 1) AS first
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of a job's messages wait, and the first id that the bulk lane has."""

    number: int  # of those that were looked at
    crowded: bool  # more wait, of whatever kind, than were looked at
    newest_waits: bool
    first: UUID | None


async def waiting(conn: Connection, backfill: UUID, most: int, *, since: UUID) -> Waiting:
    """Counts from an id on, looking at no more than `most` of all that are ready and of all that are put off."""
    row = await conn.fetchrow(WAITING, backfill, most, since)
    assert row is not None  # noqa: S101 - it counts
    return Waiting(**row)
