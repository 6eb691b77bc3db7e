"""SQL that counts the messages of a backfill that wait for their handlers."""

from uuid import UUID

from libs.common.db import Connection

# Both look at a bounded number of rows: in a lane that is deeper than that nothing more is put anyway. OFFSET 0 keeps
# each a look-up by primary key.
WAITING = """
SELECT (
    SELECT CASE WHEN count(*) >= $2 THEN $2 ELSE count(*) FILTER (WHERE m.correlation_id = $1) END FROM (
        SELECT id FROM worker.outbox WHERE destination = 'worker' AND lane = 'bulk' ORDER BY id LIMIT $2
    ) AS o
    CROSS JOIN LATERAL (SELECT correlation_id FROM worker.messages WHERE id = o.id OFFSET 0) AS m
) + (
    SELECT count(*) FILTER (WHERE m.correlation_id = $1) FROM (
        SELECT message_id FROM worker.scheduled WHERE source = 'worker' ORDER BY due_at LIMIT $2
    ) AS s
    CROSS JOIN LATERAL (SELECT correlation_id FROM worker.messages WHERE id = s.message_id OFFSET 0) AS m
)
"""


async def waiting(conn: Connection, backfill: UUID, most: int) -> int:
    """How many of a job's messages wait for their handler, looking at no more than `most` of all that wait."""
    number: int = await conn.fetchval(WAITING, str(backfill), most)
    return number
