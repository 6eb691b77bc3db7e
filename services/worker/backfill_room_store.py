"""SQL that counts the messages of a backfill that wait for their handlers."""

from dataclasses import dataclass
from uuid import UUID

from libs.common.db import Connection

# A bounded number of rows is looked at: in a lane that is deeper than that nothing more is put anyway. The lane is read
# from an id on, so that rows deleted before it are not walked again. OFFSET 0 keeps each a look-up by primary key.
WAITING = """
WITH ready AS MATERIALIZED (
    SELECT id FROM worker.outbox WHERE destination = 'worker' AND lane = 'bulk' AND id >= $3 ORDER BY id LIMIT $2
)
SELECT (
    SELECT CASE WHEN count(*) >= $2 THEN $2 ELSE count(*) FILTER (WHERE m.correlation_id = $1) END FROM ready AS o
    CROSS JOIN LATERAL (SELECT correlation_id FROM worker.messages WHERE id = o.id OFFSET 0) AS m
) + (
    SELECT count(*) FILTER (WHERE m.correlation_id = $1) FROM (
        SELECT message_id FROM worker.scheduled WHERE source = 'worker' ORDER BY due_at LIMIT $2
    ) AS s
    CROSS JOIN LATERAL (SELECT correlation_id FROM worker.messages WHERE id = s.message_id OFFSET 0) AS m
) AS number, (SELECT id FROM ready ORDER BY id LIMIT 1) AS first
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of a job's messages wait, and the first id that the bulk lane has."""

    number: int
    first: UUID | None


async def waiting(conn: Connection, backfill: UUID, most: int, *, since: UUID) -> Waiting:
    """Counts from an id on, looking at no more than `most` of all that wait."""
    row = await conn.fetchrow(WAITING, str(backfill), most, since)
    assert row is not None  # noqa: S101 - it counts
    return Waiting(row["number"], row["first"])
