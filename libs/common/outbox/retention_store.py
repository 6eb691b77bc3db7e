"""SQL that deletes what has been kept long enough.

Traces go first, under their row locks; then the payloads that nobody refers to any more. A replay takes the trace's
row too, so either it comes first and the message stays, or there is nothing left to replay.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.common.contracts.topology import CONSUMERS, EXTERNAL
from libs.common.db import Connection
from libs.common.outbox.look_store import LANES
from libs.common.outbox.names import bind

DESTINATIONS = sorted({*CONSUMERS, *(external.name for external in EXTERNAL)})

TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('shopbus retention', 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('shopbus retention', 0))"


async def try_lock(conn: Connection) -> bool:
    """Whether this session is the one that deletes; it ends with the session at the latest."""
    locked: bool = await conn.fetchval(TRY_LOCK)
    return locked


async def unlock(conn: Connection) -> None:
    """Lets another session delete."""
    await conn.execute(UNLOCK)


# A message may have ended long after it was made, so its id alone does not say that its time is over.
EXPIRE_DONE = """
DELETE FROM CONSUMER.history WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM CONSUMER.history
    WHERE message_id > $1 AND message_id < $2 AND source = $3 AND finished_at < $4
    ORDER BY message_id LIMIT $5 FOR UPDATE SKIP LOCKED))
RETURNING message_id
"""

EXPIRE_FAILED = """
DELETE FROM CONSUMER.failed WHERE source = $3 AND message_id = ANY (ARRAY(
    SELECT message_id FROM CONSUMER.failed
    WHERE message_id > $1 AND message_id < $2 AND source = $3 AND failed_at < $4
    ORDER BY message_id LIMIT $5 FOR UPDATE SKIP LOCKED))
RETURNING message_id
"""


async def expire(
    conn: Connection, statement: str, source: str, consumer: str, *, after: UUID, floor: UUID,
    cutoff: datetime, limit: int,
) -> list[UUID]:  # fmt: skip
    """Deletes traces of messages made before `floor` that ended before `cutoff`, the oldest first; gives their ids."""
    rows = await conn.fetch(
        bind(statement, source=source, consumer=consumer), after, floor, source, cutoff, limit
    )
    return [row["message_id"] for row in rows]


OLD_MESSAGES = "SELECT id FROM SOURCE.messages WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3"


async def old_messages(conn: Connection, source: str, *, after: UUID, floor: UUID, limit: int) -> list[UUID]:
    """The ids of messages made before `floor` that are still there."""
    return [row["id"] for row in await conn.fetch(bind(OLD_MESSAGES, source=source), after, floor, limit)]


# OFFSET 0 keeps each of these a look-up by primary key for each payload, instead of one pass over all places.
FORGET = """
DELETE FROM SOURCE.messages AS m WHERE id = ANY ($1::uuid[])
  AND NOT EXISTS (SELECT FROM SOURCE.outbox WHERE destination = ANY ($2) AND lane = ANY ($3) AND id = m.id OFFSET 0)
"""
UNLESS_REFERRED = """
  AND NOT EXISTS (SELECT FROM CONSUMER.scheduled WHERE source = $4 AND message_id = m.id OFFSET 0)
  AND NOT EXISTS (SELECT FROM CONSUMER.failed WHERE source = $4 AND message_id = m.id OFFSET 0)
  AND NOT EXISTS (SELECT FROM CONSUMER.history WHERE source = $4 AND message_id = m.id OFFSET 0)
"""


async def forget(conn: Connection, source: str, consumers: Sequence[str], ids: Sequence[UUID]) -> int:
    """Deletes those of these payloads that stand in no place any more; returns how many."""
    unless = "".join(bind(UNLESS_REFERRED, consumer=name) for name in consumers)
    statement = bind(FORGET, source=source) + unless
    status: str = await conn.execute(statement, list(ids), DESTINATIONS, LANES, source)
    return int(status.rpartition(" ")[2])
