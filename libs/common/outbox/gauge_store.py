"""SQL behind the gauges: each reads a bounded number of rows, however long the tables are."""

from dataclasses import dataclass

from libs.common.db import Connection
from libs.common.outbox.look_store import LANES
from libs.common.outbox.names import bind

OUTBOX = """
SELECT l.lane, count(o.ready_at) AS pending,
       count(*) FILTER (WHERE leased_until >= now() AND holder LIKE 'broker:%') AS broker,
       count(*) FILTER (WHERE leased_until >= now() AND holder NOT LIKE 'broker:%') AS worker,
       coalesce(greatest(extract(epoch FROM now() - min(o.ready_at)), 0), 0)::float8 AS oldest
FROM unnest($2::text[]) AS l(lane) LEFT JOIN LATERAL (
    SELECT holder, leased_until, ready_at FROM SOURCE.outbox
    WHERE destination = $1 AND lane = l.lane ORDER BY id LIMIT $3
) AS o ON true
GROUP BY l.lane
"""


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """One lane of one outbox."""

    lane: str
    pending: int
    broker: int
    worker: int
    oldest: float  # seconds


async def outbox(conn: Connection, source: str, consumer: str, most: int) -> list[LaneCounts]:
    """What stands in an outbox for a consumer, by lane, among the first `most` rows of each."""
    rows = await conn.fetch(bind(OUTBOX, source=source), consumer, LANES, most)
    return [LaneCounts(**row) for row in rows]


FAILED = """
SELECT reason, count(*) AS number, greatest(extract(epoch FROM now() - min(failed_at)), 0)::float8 AS oldest
FROM (SELECT reason, failed_at FROM CONSUMER.failed LIMIT $1) AS few GROUP BY reason
"""


async def failed(conn: Connection, consumer: str, most: int) -> dict[str, tuple[int, float]]:
    """By reason how many of up to `most` messages were given up, and the age of the oldest in seconds."""
    rows = await conn.fetch(bind(FAILED, consumer=consumer), most)
    return {row["reason"]: (row["number"], row["oldest"]) for row in rows}


SCHEDULED = "SELECT count(*) FROM (SELECT FROM CONSUMER.scheduled LIMIT $1) AS few"


async def scheduled(conn: Connection, consumer: str, most: int) -> int:
    """How many messages wait for their time, up to `most`."""
    number: int = await conn.fetchval(bind(SCHEDULED, consumer=consumer), most)
    return number
